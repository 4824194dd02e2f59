"""
Gradients of a logit difference by PyTorch autograd: of the tiny families in float64, of SmolLM2-135M in float32.

    .venv/bin/python tools/goldens/gradients.py                                            # all families, seconds
    .venv/bin/python tools/goldens/gradients.py --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf

Families: the gradients of the corrupt prompt of `golden.json` by six sites of every layer, kept as float32.
SmolLM2: those of the corrupt IOI prompt; whole norms for every layer, the values themselves for some layers and positions.
The models are the goldens' own, so their seeds are those of `golden.json`; nothing here is drawn.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from capture import attention_recorder, before_rotary, first, hidden_input, hooks
from layout import blocks
from make import GOLDENS, VERSIONS
from models import as_float64, float64_arithmetic, open_float32

KEPT_LAYERS, KEPT_POSITIONS = (0, 14, 29), (4, 9, 13)


def watch_input(module, store: dict, name: str):
    """Keeps the tensor that the module is given, which then collects its gradient."""
    def hook(_, inputs, named):
        store[name] = hidden_input(inputs, named)
        store[name].retain_grad()

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def watch_output(module, store: dict, name: str):
    def hook(_, __, output):
        store[name] = first(output)
        store[name].retain_grad()

    return module.register_forward_hook(hook)


def gradients(model, ids: list[int], answer: int, foil: int) -> tuple[float, dict[str, torch.Tensor]]:
    """The logit difference at the last position, and its gradients as `layer0.z` …, without the batch axis."""
    parts = blocks(model)
    model.requires_grad_(False)
    raw: list[dict] = [{} for _ in parts]
    recorded: dict = {}
    with hooks() as handles, attention_recorder(model, recorded):
        embedding = model.get_input_embeddings()
        handles.append(embedding.register_forward_hook(lambda _, __, output: output.requires_grad_()))
        for part, own in zip(parts, raw, strict=True):
            inputs = {"resid_pre": part.block, "mlp_post": part.down, "z": part.output}
            outputs = {"fused": part.fused, "query": part.query, "key": part.key,
                       "query_norm": part.query_norm, "key_norm": part.key_norm,
                       "value": getattr(part.attention, "v_proj", None)}
            handles += [watch_input(module, own, name) for name, module in inputs.items()]
            handles += [watch_output(module, own, name) for name, module in outputs.items() if module is not None]
        logits = model(torch.tensor([ids])).logits[0, -1]
        metric = logits[answer] - logits[foil]
        metric.backward()
    found = {}
    for layer, (part, own) in enumerate(zip(parts, raw, strict=True)):
        shapes = recorded[layer]
        by = {name: value.grad[0] for name, value in own.items()}
        q, k = before_rotary(model, part, by, shapes)
        sites = {"resid_pre": by["resid_pre"], "q": q, "k": k, "v": values(model, by, shapes),
                 "z": by["z"].reshape(q.shape), "mlp_post": by["mlp_post"]}
        found |= {f"layer{layer}.{name}": value.contiguous() for name, value in sites.items()}
    return metric.item(), found


def values(model, raw: dict, attention: dict) -> torch.Tensor:
    """v [pos, kv_head, d_head], which no norm and no rotation stands behind."""
    if "fused" not in raw:
        return raw["value"].reshape(raw["value"].shape[0], attention["value"].shape[0], -1)
    heads, _, width = attention["query"].shape
    if model.config.model_type == "gpt2":
        return raw["fused"].reshape(-1, 3, heads, width)[:, 2]
    return raw["fused"].reshape(-1, heads, 3, width)[:, :, 2]


def family(name: str) -> None:
    facts = json.loads((GOLDENS / "families" / name / "golden.json").read_text())
    pair = facts["patching"]
    model = open_float32(GOLDENS / "families" / name / "model")
    with float64_arithmetic():
        _, found = gradients(as_float64(model), pair["corrupt"], pair["answer"], pair["foil"])
    # The context renames float32 while it is open; here it is itself again.
    target = GOLDENS / "gradients" / f"{name}.safetensors"
    target.parent.mkdir(exist_ok=True)
    save_file({key: value.to(torch.float32) for key, value in found.items()}, target,
              metadata={"versions": json.dumps(VERSIONS), "seed": str(facts["seed"])})
    print(f"{name:24s} {target.stat().st_size / 1e3:5.0f} kB")


def smollm2(file: Path) -> None:
    golden = json.loads((GOLDENS / "smollm2" / "ioi.json").read_text())["ioi"]
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, attn_implementation="eager").eval()
    value, found = gradients(model, golden["corrupt_ids"], golden["answer_id"], golden["foil_id"])
    kept = {key: found[key][list(KEPT_POSITIONS)].contiguous() for key in found
            if int(key.split(".")[0].removeprefix("layer")) in KEPT_LAYERS}
    facts = {"file": file.name, "prompt": golden["corrupt"], "value": value, "layers": KEPT_LAYERS, "positions": KEPT_POSITIONS,
             "norms": {key: gradient.norm().item() for key, gradient in found.items()}, "versions": VERSIONS}
    save_file(kept, GOLDENS / "smollm2" / "gradients.safetensors", metadata={"facts": json.dumps(facts)})
    (GOLDENS / "smollm2" / "gradients.json").write_text(json.dumps(facts) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", type=Path, metavar="GGUF", help="write smollm2/gradients.* from this file instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.smollm2:
        smollm2(options.smollm2)
        return
    for folder in sorted((GOLDENS / "families").iterdir()):
        family(folder.name)


if __name__ == "__main__":
    main()
