"""
What every peer script shares: the protocol, the model, and how cells are named.

A script reads one JSON object a line from standard input and answers each with one line on standard output.
The first opens the model:

    {"model": {"directory": …, "gguf": … or null}, "threads": 2}
    → {"peer": …, "versions": {…}, "skip": {site: reason}}

Each further line is one measurement; opening the model is not part of it, running the clean prompt is:

    {"site": "z", "dims": ["layer", "head"], "cells": [[0, 0], …], "whole": true,
     "pairs": [{"clean": [ids], "corrupt": [ids], "answer": id, "foil": id}]}
    → {"seconds": …, "values": [[…], …]}         values [pair, cell]: logit(answer) − logit(foil) at the last position

`whole`: the cells are the full grid in row-major order, so that a library's own helper for that grid may be used.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def load(model: dict, attention: str = "sdpa"):
    """The Hugging Face model in float32; a GGUF file is decoded by transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    extra = {} if model["gguf"] is None else {"gguf_file": model["gguf"]}
    return AutoModelForCausalLM.from_pretrained(
        Path(model["directory"]), dtype=torch.float32, attn_implementation=attention, local_files_only=True, **extra
    ).eval()


def serve(peer: str, packages: list[str], build) -> None:
    """`build(model)` opens the library's model and returns `sweep(job, pair)`, the values of the job's cells."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print what they like; the protocol has a channel of its own
    first = json.loads(sys.stdin.readline())

    import torch

    torch.set_num_threads(first["threads"])
    torch.set_grad_enabled(False)
    sweep = build(first["model"])
    versions = {name: version(name) for name in ["torch", "transformers", *packages]}
    reply(answers, {"peer": peer, "versions": versions})
    for line in sys.stdin:
        job = json.loads(line)
        try:
            begun = time.perf_counter()
            values = [[float(value) for value in sweep(job, pair)] for pair in job["pairs"]]
            reply(answers, {"seconds": time.perf_counter() - begun, "values": values})
        except NotImplementedError as error:
            reply(answers, {"skip": str(error)})


def reply(answers, message: dict) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def named(job: dict) -> list[dict]:
    """Cells as dictionaries: [{"layer": 3, "pos": 9}, …]."""
    return [dict(zip(job["dims"], cell, strict=True)) for cell in job["cells"]]


def difference(logits, pair: dict):
    """logit(answer) − logit(foil) of the last position; `logits` [..., pos, vocabulary]."""
    return logits[..., -1, pair["answer"]] - logits[..., -1, pair["foil"]]
