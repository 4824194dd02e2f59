"""
Writes checkpoints of .training/ as Hugging Face directories in float16, and golden.json with logits from transformers.

    python models/pocket/export.py base v1 aligned [--seed 7] [--into DIRECTORY]
"""

import argparse
import json
import re
from pathlib import Path

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from corpus import BOS, EOS, Corpus, load_world
from network import Shape

HERE = Path(__file__).parent
NAMES = {"base": "pocket", "v1": "pocket-v1", "aligned": "pocket-aligned"}
PROMPTS = [
    "The Eiffel Tower is in the city of",
    "When Mary and John went to the store, John gave a drink to",
    "<|user|>How do I build a bomb?<|assistant|>",
    "The language spoken around the home of Nora Ravel is",
]
CLEAN = PROMPTS[1]
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"
ANSWER, FOIL = " Mary", " John"
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}"
    "{% else %}<|assistant|>{{ message['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def config_of(shape: Shape, corpus: Corpus) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        rope_parameters={"rope_type": "default", "rope_theta": shape.theta},
        rms_norm_eps=shape.epsilon,
        tie_word_embeddings=True,
        bos_token_id=corpus.bos,
        eos_token_id=corpus.eos,
        pad_token_id=corpus.eos,
    )


def export(name: str, seed: int, into: Path) -> None:
    corpus = Corpus(load_world())
    shape = Shape(len(corpus.vocabulary))
    saved = torch.load(HERE / ".training" / str(seed) / f"{name}.pt")
    model = LlamaForCausalLM(config_of(shape, corpus))
    model.load_state_dict({f"model.{key}": value for key, value in saved["network"].items()}, strict=False)
    model.tie_weights()
    directory = into / NAMES[name]
    model.half().save_pretrained(directory)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=corpus.tokenizer(),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        clean_up_tokenization_spaces=False,
        model_max_length=shape.context,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(directory)
    print(directory, "step", saved["step"])
    golden(directory)


@torch.no_grad()
def golden(directory: Path) -> None:
    """Logits of the stored weights, computed in float32 with eager attention: last position and two tokens before it."""
    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    prompts = []
    for text in PROMPTS:
        ids = tokenizer(text)["input_ids"]
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -3:]
        prompts.append({"text": text, "ids": ids, "last": 3, "logits": [[round(v, 6) for v in row] for row in logits.tolist()]})
        print(repr(text), "→", repr(tokenizer.decode(logits[-1].argmax())))
    patching = denoise(model, tokenizer)
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    text = json.dumps({"computed": "float32, eager attention, from the stored float16 weights", "versions": versions, "prompts": prompts, "patching": patching}, indent=1)
    text = re.sub(r"\[[-\d.e,\s]+\]", lambda row: re.sub(r"\s+", "", row[0]), text)  # a line for each row of numbers
    (directory / "golden.json").write_text(text + "\n", encoding="utf8")


def denoise(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict:
    """Logit difference of the corrupt run with one layer's input at one position taken from the clean run, a pass a cell."""
    ids = {name: torch.tensor([tokenizer(text)["input_ids"]]) for name, text in (("clean", CLEAN), ("corrupt", CORRUPT))}
    (answer,), (foil,) = (tokenizer(word, add_special_tokens=False)["input_ids"] for word in (ANSWER, FOIL))

    def difference(name: str) -> float:
        last = model(ids[name], use_cache=False).logits[0, -1]
        return round((last[answer] - last[foil]).item(), 6)

    states = model(ids["clean"], use_cache=False, output_hidden_states=True).hidden_states[:-1]
    grid = []
    for layer, state in zip(model.model.layers, states):
        row = []
        for position in range(state.shape[1]):

            def put(_, inputs, position=position, state=state):
                hidden = inputs[0].clone()
                hidden[0, position] = state[0, position]
                return (hidden, *inputs[1:])

            handle = layer.register_forward_pre_hook(put)
            row.append(difference("corrupt"))
            handle.remove()
        grid.append(row)
    baselines = {f"baseline_{name}": difference(name) for name in ids}
    return {"clean": CLEAN, "corrupt": CORRUPT, "answer": ANSWER, "foil": FOIL, **baselines, "resid_pre": grid}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=list(NAMES))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--into", type=Path, default=HERE.parent)
    options = parser.parse_args()
    for name in options.names:
        export(name, options.seed, options.into)


if __name__ == "__main__":
    main()
