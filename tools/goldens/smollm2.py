"""Writes goldens of a real model: SmolLM2-135M-Instruct as stored in a GGUF file, decoded to float32."""

import hashlib
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from patching import denoise, greedy, logits_of

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"
ANSWER, FOIL = " Mary", " John"
FACTS = (" The Eiffel Tower is in the city of", "The Colosseum is in the city of")


def smollm2(file: Path, target: Path, versions: dict) -> None:
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, attn_implementation="eager").eval()

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    clean, corrupt = encode(CLEAN), encode(CORRUPT)
    (answer,), (foil,) = encode(ANSWER), encode(FOIL)
    def metric(logits):
        return logits[answer] - logits[foil]
    grids = denoise(model, clean, corrupt, metric, ("resid_pre", "z"))
    continuation, lead = greedy(model, clean, 20)
    cached = model.generate(torch.tensor([clean]), do_sample=False, use_cache=True, max_new_tokens=20,
                            eos_token_id=None, pad_token_id=0)
    assert cached[0, len(clean):].tolist() == continuation, "cached generation disagrees with whole passes"
    written = {
        "file": file.name, "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "versions": versions,
        "ioi": {
            "clean": CLEAN, "corrupt": CORRUPT, "answer": ANSWER, "foil": FOIL,
            "clean_ids": clean, "corrupt_ids": corrupt, "clean_tokens": [tokenizer.decode([one]) for one in clean],
            "answer_id": answer, "foil_id": foil, "direction": "denoise",
            "baseline_clean": metric(logits_of(model, clean)).item(),
            "baseline_corrupt": metric(logits_of(model, corrupt)).item(),
            "resid_pre": grids["resid_pre"].tolist(), "z": grids["z"].tolist(),
        },
        "next_token": [next_token(model, tokenizer, text, encode(text)) for text in FACTS],
        "generation": {"prompt": CLEAN, "ids": continuation, "text": tokenizer.decode(continuation),
                       "smallest_lead": lead},
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(written) + "\n")


def next_token(model, tokenizer, text: str, ids: list[int]) -> dict:
    logits = logits_of(model, ids)
    best = logits.topk(10)
    return {"prompt": text, "ids": ids,
            "top": [{"id": number, "token": tokenizer.decode([number]), "logit": logit,
                     "prob": logits.softmax(-1)[number].item()}
                    for number, logit in zip(best.indices.tolist(), best.values.tolist(), strict=True)]}
