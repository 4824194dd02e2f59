"""
Measures the shipped files (weights as stored, computed in float32) and writes golden.json beside them.

    python models/toy/measure.py

The golden holds the logits of two prompts and the denoising grid of a prompt pair, one whole pass for each cell.
"""

import json
import random
import re
from pathlib import Path

import torch
import transformers
from transformers import AutoTokenizer, LlamaForCausalLM

from train import SEED
from world import CAPITALS, IOI_FRAMES, LANDMARKS, NAMES, Example, build_world, facts, gift, held_out_ioi, third_names

HERE = Path(__file__).parent
CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"
ANSWER, FOIL = " Mary", " John"
PROMPTS = [CLEAN, "The Eiffel Tower is in the city of"]


class Toy:
    def __init__(self) -> None:
        self.model = LlamaForCausalLM.from_pretrained(HERE, dtype=torch.float32, attn_implementation="eager").eval()
        self.tokenizer = AutoTokenizer.from_pretrained(HERE)

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text)["input_ids"]

    def token(self, word: str) -> int:
        (only,) = self.ids(word)
        return only

    @torch.no_grad()
    def logits(self, text: str) -> torch.Tensor:
        """[position, token]"""
        return self.model(torch.tensor([self.ids(text)]), use_cache=False).logits[0]

    def last(self, examples: list[Example]) -> torch.Tensor:
        """[example, token]: logits after each prompt."""
        return torch.stack([self.logits(example.prompt)[-1] for example in examples])


def top_one(toy: Toy, examples: list[Example]) -> str:
    answers = torch.tensor([toy.token(example.answer) for example in examples])
    right = (toy.last(examples).argmax(-1) == answers).sum().item()
    return f"{right} of {len(examples)} ({right / len(examples):.2%})"


def above_foil(toy: Toy, examples: list[Example]) -> str:
    pairs = torch.tensor([[toy.token(e.answer), toy.token(e.foil)] for e in examples])
    answer, foil = toy.last(examples).gather(1, pairs).unbind(1)
    lead = answer - foil
    return f"{(lead > 0).float().mean():.2%}, logit difference {lead.mean():.2f} ± {lead.std():.2f}, least {lead.min():.2f}"


def report(toy: Toy) -> None:
    world = build_world(SEED)
    rng = random.Random(SEED + 1)
    held_out = held_out_ioi(world, rng)
    seen = []
    for _ in held_out:
        pair = rng.sample(rng.choice(world.seen_pairs), 2)
        seen.append(gift(*pair, rng.choice(pair), rng.choice(IOI_FRAMES), rng))
    three = []
    for pair in world.seen_pairs:
        three.append(gift(*pair, rng.choice(third_names(world.seen_pairs, list(pair))), rng.choice(IOI_FRAMES), rng))
    print("tokens", len(toy.tokenizer), "| names", len(NAMES), "| cities", len({c for _, c in facts(CAPITALS) + facts(LANDMARKS)}))
    for label, examples in [
        ("IOI, held-out pairs", held_out),
        ("IOI, seen pairs", seen),
        ("facts, held-out paraphrases", world.held_out_facts),
        ("facts, seen paraphrases", world.seen_facts),
    ]:
        print(f"{label}: {top_one(toy, examples)}")
    print("IOI, held-out pairs, answer above foil:", above_foil(toy, held_out))
    both = torch.tensor([[toy.token(e.answer), toy.token(e.foil)] for e in three])
    print(f"three names: probability of the two {toy.last(three).softmax(-1).gather(1, both).sum(-1).mean():.3f} (n {len(three)})")
    for text in [CLEAN, CORRUPT, *PROMPTS[1:]]:
        best = toy.logits(text)[-1].softmax(-1).topk(3)
        print(text, "→", ", ".join(f"{toy.tokenizer.decode([i])!r} {p:.4f}" for p, i in zip(best.values, best.indices.tolist())))


@torch.no_grad()
def resid_pre(toy: Toy, text: str) -> list[torch.Tensor]:
    """[position, width] of each layer's input."""
    output = toy.model(torch.tensor([toy.ids(text)]), use_cache=False, output_hidden_states=True)
    return [state[0] for state in output.hidden_states[:-1]]


def denoise(toy: Toy) -> list[list[float]]:
    """[layer, position]: logit difference of the corrupt run with one state of the clean run put in."""
    answer, foil = toy.token(ANSWER), toy.token(FOIL)
    grid = []
    for layer, states in enumerate(resid_pre(toy, CLEAN)):
        row = []
        for position in range(len(states)):

            def put(_, inputs, position=position, states=states):
                hidden = inputs[0].clone()
                hidden[0, position] = states[position]
                return (hidden, *inputs[1:])

            handle = toy.model.model.layers[layer].register_forward_pre_hook(put)
            last = toy.logits(CORRUPT)[-1]
            handle.remove()
            row.append((last[answer] - last[foil]).item())
        grid.append(row)
    return grid


def rounded(values: list) -> list:
    return [rounded(value) if isinstance(value, list) else round(value, 6) for value in values]


def write_golden(toy: Toy) -> None:
    answer, foil = toy.token(ANSWER), toy.token(FOIL)
    lead = {name: toy.logits(text)[-1] for name, text in [("clean", CLEAN), ("corrupt", CORRUPT)]}
    grid = denoise(toy)
    for pieces, row in [(toy.ids(CLEAN), None), *((None, row) for row in grid)]:
        print(" ".join(f"{toy.tokenizer.decode([i]):>7}" for i in pieces) if pieces else " ".join(f"{v:7.2f}" for v in row))
    golden = {
        "computed": "float32, eager attention, from the stored float16 weights",
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "prompts": [{"text": t, "ids": toy.ids(t), "logits": rounded(toy.logits(t).tolist())} for t in PROMPTS],
        "patching": {
            "direction": "denoise",
            "clean": CLEAN,
            "corrupt": CORRUPT,
            "answer": ANSWER,
            "foil": FOIL,
            "metric": "logit_diff",
            **{f"baseline_{name}": round((last[answer] - last[foil]).item(), 6) for name, last in lead.items()},
            "resid_pre": rounded(grid),
        },
    }
    text = json.dumps(golden, indent=1, ensure_ascii=False)
    # One line for each row of numbers.
    text = re.sub(r"\[[-\d.e,\s]+\]", lambda row: re.sub(r"\s+", "", row[0]), text)
    (HERE / "golden.json").write_text(text + "\n", encoding="utf8")


def main() -> None:
    torch.set_num_threads(1)
    toy = Toy()
    report(toy)
    write_golden(toy)


if __name__ == "__main__":
    main()
