"""Builds a seeded model of a variant, writes it as a checkpoint, and opens it again in float32 or float64."""

import contextlib
import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from variants import Variant

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def randomise(model, seed: int) -> None:
    """Fills every parameter, norms and biases included, so that none can be dropped or swapped unseen."""
    generator = torch.Generator().manual_seed(seed)
    one_plus = model.config.model_type.startswith("gemma")  # Gemma's norms multiply by 1 + weight
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
        owner = name.rsplit(".", 1)[0].rsplit(".", 1)[-1]
        if name.endswith(".bias"):
            value = 0.3 * noise
        elif parameter.dim() == 1:
            centre = 1.6 if owner in ("q_norm", "k_norm", "q_layernorm", "k_layernorm") else 1.0
            value = 0.25 * noise + centre - (1.0 if one_plus else 0.0)
        elif owner in ("wte", "embed_in", "embed_tokens"):
            value = 0.6 * noise
        elif owner == "wpe":
            value = 0.4 * noise
        else:
            inputs = parameter.shape[0] if owner in ("c_attn", "c_proj", "c_fc") else parameter.shape[1]
            gain = 2.0 if owner in ("q_proj", "k_proj", "lm_head", "embed_out") else 1.5
            value = gain / inputs**0.5 * noise
        parameter.data.copy_(value)


def write_checkpoint(variant: Variant, folder: Path) -> None:
    """Writes config.json and the weights of a fresh seeded model."""
    folder.mkdir(parents=True)
    config = AutoConfig.for_model(**variant.config)
    config.architectures = [variant.architecture]
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    assert type(model).__name__ == variant.architecture
    randomise(model, variant.seed)
    model = model.to(DTYPES[variant.dtype])
    if variant.layout == "current":
        model.save_pretrained(folder, max_shard_size=variant.shard_bytes or "1GB")
    else:
        written = {"architectures": [variant.architecture], **variant.config, "torch_dtype": variant.dtype}
        (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")
        write_weights(variant, model, folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def write_weights(variant: Variant, model, folder: Path) -> None:
    # Names inside the library can differ from those in files (GPT-NeoX's `embed_out`): take the files'.
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        state = load_file(Path(scratch) / "model.safetensors")
    if variant.stale_buffers:
        state |= stale_buffers(variant)
    state = {name.removeprefix(variant.drop_prefix): value for name, value in state.items()}
    if variant.shard_bytes is None:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    shards: list[dict] = [{}]
    for name, value in sorted(state.items()):
        if sum(kept.nbytes for kept in shards[-1].values()) + value.nbytes > variant.shard_bytes and shards[-1]:
            shards.append({})
        shards[-1][name] = value
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": sum(value.nbytes for value in state.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def stale_buffers(variant: Variant) -> dict:
    """What the published GPT-2 and Pythia files hold besides parameters: masks and rotary frequencies."""
    config = variant.config
    if variant.architecture == "GPT2LMHeadModel":
        mask = torch.tril(torch.ones(config["n_positions"], config["n_positions"]))[None, None]
        return {f"transformer.h.{layer}.attn.bias": mask.clone() for layer in range(config["n_layer"])}
    size = config["max_position_embeddings"]
    rotary = int(config["hidden_size"] // config["num_attention_heads"] * config["rotary_pct"])
    buffers = {}
    for layer in range(config["num_hidden_layers"]):
        attention = f"gpt_neox.layers.{layer}.attention"
        buffers[f"{attention}.bias"] = torch.tril(torch.ones(size, size, dtype=torch.uint8))[None, None]
        buffers[f"{attention}.masked_bias"] = torch.tensor(-1e4, dtype=torch.float16)
        frequencies = config["rotary_emb_base"] ** (-torch.arange(0, rotary, 2) / rotary)
        buffers[f"{attention}.rotary_emb.inv_freq"] = frequencies.to(torch.float16)
    return buffers


def open_float32(folder: Path):
    """The model as any user would open it; every stored tensor must have found its place."""
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not report["missing_keys"] and not report["mismatched_keys"], report
    return model.eval()


def without_stops(model):
    """Generation must not end early: tiny models meet their end token by chance."""
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


@contextlib.contextmanager
def float64_arithmetic():
    """
    `model.double()` alone leaves islands of float32: norms, rotary angles and softmax upcast "to float32"
    by name. While this context is open, that name means float64 everywhere.
    """
    single, short, to_float, default = torch.float32, torch.float, torch.Tensor.float, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = single, short, to_float
        torch.set_default_dtype(default)


def as_float64(model):
    """The same weights in a model built, buffers included, in float64. Call inside `float64_arithmetic`."""
    config = AutoConfig.for_model(**{**model.config.to_dict(), "dtype": None})
    exact = AutoModelForCausalLM.from_config(config, dtype=torch.float64, attn_implementation="eager")
    exact.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    exact.tie_weights()
    for name, value in [*exact.named_parameters(), *exact.named_buffers()]:
        assert value.dtype in (torch.float64, torch.bool, torch.int64), f"{name} is {value.dtype}"
    return exact.eval()
