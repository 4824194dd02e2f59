"""
Trains the toy model and writes it in Hugging Face layout beside this file: about five minutes of one core.

    python models/toy/train.py && python models/toy/measure.py
"""

import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from world import Example, World, all_text, build_world, sample

HERE = Path(__file__).parent
SEED = 20
END = "<|endoftext|>"
STEPS = 2000
BATCH = 96
PEAK_RATE = 4e-3
WARM_UP = 200
WEIGHT_DECAY = 0.1
OTHER_WORDS = 0.1  # weight of the loss of every word but the answer


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """
    Each word of the world is one token, with its leading space if it has one; other text falls apart into bytes.

    Byte-level BPE without merges: `ignore_merges` looks a whole word up before any merge is tried.
    """
    pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = {word for text in all_text(world) for word, _ in pre_tokenizer.pre_tokenize_str(text)}
    vocabulary = [END, *sorted(pre_tokenizers.ByteLevel.alphabet()), *sorted(word for word in words if len(word) > 1)]
    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False, model_max_length=64
    )


def make_model(vocabulary: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids [example, position], padded with END, and the weight of predicting each (0 for padding)."""
    rows = tokenizer([e.prompt + e.answer + "." + END for e in examples])["input_ids"]
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    weights = torch.zeros(len(rows), longest)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        weights[i, : len(row)] = OTHER_WORDS
        weights[i, len(row) - 3] = 1  # the answer; a full stop and END follow it
    return ids, weights


def loss_of(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Weighted mean over the words, in nats, and the share of answers that come out on top."""
    logits = model(ids[:, :-1], use_cache=False).logits  # causal: padding on the right changes nothing before it
    each = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = weights[:, 1:].flatten()
    right = (logits.flatten(0, 1).argmax(-1) == ids[:, 1:].flatten())[weights == 1]
    return (each * weights).sum() / weights.sum(), right.float().mean().item()


def rate(step: int) -> float:
    """Factor of the peak rate: linear warm-up, then linear to zero."""
    return min((step + 1) / WARM_UP, (STEPS - step) / (STEPS - WARM_UP))


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, world: World) -> None:
    rng = random.Random(SEED)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    gains = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": gains, "weight_decay": 0.0}],
        lr=PEAK_RATE,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    start = time.monotonic()
    for step in range(STEPS):
        ids, weights = encode(tokenizer, [sample(world, rng) for _ in range(BATCH)])
        loss, right = loss_of(model, ids, weights)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == STEPS - 1:
            print(f"step {step}  loss {loss.item():.4f}  answers {right:.3f}  {time.monotonic() - start:.0f} s", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    world = build_world(SEED)
    tokenizer = make_tokenizer(world)
    model = make_model(len(tokenizer))
    print(f"{model.num_parameters()} parameters, {len(tokenizer)} tokens")
    train(model, tokenizer, world)
    model.half().save_pretrained(HERE)
    tokenizer.save_pretrained(HERE)


if __name__ == "__main__":
    main()
