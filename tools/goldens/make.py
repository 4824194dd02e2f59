"""
Writes test/goldens/families: tiny seeded checkpoints and what PyTorch computes from them.

    python tools/goldens/make.py            all families
    python tools/goldens/make.py gemma2     only these
    python tools/goldens/make.py --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf
"""

import argparse
import json
import platform
import shutil
from pathlib import Path

import numpy
import safetensors
import torch
import transformers
from safetensors.torch import save_file

from capture import capture
from models import as_float64, float64_arithmetic, open_float32, without_stops, write_checkpoint
from patching import denoise, greedy, logits_of
from sensitivity import sensitivity
from smollm2 import smollm2
from variants import VARIANTS, Variant

GOLDENS = Path(__file__).resolve().parents[2] / "test" / "goldens"
SITES = ("resid_pre", "z", "attn_out", "mlp_out")
LENGTHS = (9, 13)
# The shorter prompt keeps what is needed to see where a run of another length goes wrong.
SHORT_SITES = ("resid_pre", "pattern", "z", "attn_out", "mlp_out", "resid_post", "final_norm", "logits")
CHANGED_POSITION = 3
CHECK_TOLERANCE = 2e-5
SMALLEST_LEAD = 0.05
# Ten times the error that the engine is allowed.
LEAST_SENSITIVITY = 5e-4
VERSIONS = {"python": platform.python_version(), "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__, "safetensors": safetensors.__version__,
            "numpy": numpy.__version__, "machine": platform.machine()}


def make(variant: Variant) -> dict:
    folder = GOLDENS / "families" / variant.name
    shutil.rmtree(folder, ignore_errors=True)
    write_checkpoint(variant, folder / "model")
    model = without_stops(open_float32(folder / "model"))
    vocabulary = model.config.vocab_size
    prompts, continuation, lead = decisive_prompts(model, variant.seed + 1000)
    corrupt = list(prompts[0])
    corrupt[CHANGED_POSITION] = 3 + (corrupt[CHANGED_POSITION] - 3 + 7) % (vocabulary - 3)

    tensors, residues = {}, {}
    for number, ids in enumerate(prompts):
        sites, found = capture(model, ids)
        kept = sites if number == 1 else {name: sites[name] for name in sites if name.rsplit(".", 1)[-1] in SHORT_SITES}
        tensors |= {f"prompt{number}.{name}": value for name, value in kept.items()}
        residues = {name: max(size, residues.get(name, 0.0)) for name, size in found.items()}
    assert all(size < CHECK_TOLERANCE for size in residues.values()), residues

    moved = sensitivity(model, prompts[1])
    assert all(size > LEAST_SENSITIVITY for size in moved.values()), f"{variant.name} cannot tell: {moved}"

    change = logits_of(model, prompts[0]) - logits_of(model, corrupt)
    answer, foil = change.argmax().item(), change.argmin().item()

    def metric(logits):
        return logits[answer] - logits[foil]

    grids = denoise(model, prompts[0], corrupt, metric, SITES)
    tensors |= {f"patching.{site}": grid.float() for site, grid in grids.items()}
    baselines = {name: metric(logits_of(model, ids)).item() for name, ids in (("clean", prompts[0]), ("corrupt", corrupt))}

    with float64_arithmetic():
        exact = as_float64(model)
        for number, ids in enumerate(prompts):
            sites, found = capture(exact, ids)
            assert all(size < 1e-12 for size in found.values()), found
            assert all(value.dtype == torch.float64 for value in sites.values())
            tensors[f"prompt{number}.logits64"] = sites["logits"]
        exact_grids = denoise(exact, prompts[0], corrupt, metric, SITES)
        tensors |= {f"patching64.{site}": grid for site, grid in exact_grids.items()}
    rounding = max((tensors[f"prompt{n}.logits"] - tensors[f"prompt{n}.logits64"]).abs().max().item() for n in (0, 1))

    if variant.causal:
        output = model.generate(torch.tensor([prompts[0]]), do_sample=False, use_cache=True, max_new_tokens=8)
        assert output[0, LENGTHS[0]:].tolist() == continuation, "cached generation disagrees with whole passes"

    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "golden.safetensors")
    facts = {
        "name": variant.name, "architecture": variant.architecture, "seed": variant.seed,
        "stored_dtype": variant.dtype, "config_layout": variant.layout, "causal": variant.causal,
        "layers": model.config.num_hidden_layers, "vocabulary": vocabulary,
        "prompts": prompts,
        "generation": {"prompt": 0, "ids": continuation, "smallest_lead": lead},
        "patching": {"direction": "denoise", "clean": prompts[0], "corrupt": corrupt, "answer": answer, "foil": foil,
                     "baseline_clean": baselines["clean"], "baseline_corrupt": baselines["corrupt"]},
        "float32_rounding": rounding, "residues": residues, "sensitivity": moved, "versions": VERSIONS,
    }
    (folder / "golden.json").write_text(json.dumps(facts, indent=2) + "\n")
    spread = tensors["prompt1.logits"].std().item()
    sharp = tensors["prompt1.layer1.pattern"].max(-1).values[:, 6:].mean().item()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{variant.name:24s} {size / 1e3:6.0f} kB  logit std {spread:5.2f}  mean largest weight {sharp:.2f}  "
          f"rounding {rounding:.1e}  checks {max(residues.values()):.1e}  lead {lead:.2f}  least moved {min(moved.values()):.0e}  "
          f"clean {baselines['clean']:.2f} corrupt {baselines['corrupt']:.2f}", flush=True)
    return facts


def decisive_prompts(model, seed: int):
    """Random prompts, drawn again until no step of the greedy continuation of the first is close to a tie."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(50):
        prompts = [torch.randint(3, model.config.vocab_size, (length,), generator=generator).tolist()
                   for length in LENGTHS]
        continuation, lead = greedy(model, prompts[0], 8)
        if lead > SMALLEST_LEAD:
            return prompts, continuation, lead
    raise SystemExit(f"{model.config.model_type}: no decisive prompt found; choose another seed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="families to make; all where none is named")
    parser.add_argument("--smollm2", type=Path, metavar="GGUF", help="write smollm2/ioi.json from this file instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if options.smollm2:
        smollm2(options.smollm2, GOLDENS / "smollm2" / "ioi.json", VERSIONS)
        return
    unknown = set(options.names) - {variant.name for variant in VARIANTS}
    if unknown:
        parser.error(f"unknown family: {', '.join(sorted(unknown))}; there are {', '.join(v.name for v in VARIANTS)}")
    for variant in VARIANTS:
        if not options.names or variant.name in options.names:
            make(variant)


if __name__ == "__main__":
    main()
