"""Writes test/goldens/gguf: what gguf and transformers read from GGUF files.

blocks.json     random blocks of every format that gguf dequantises, with its float32 values
NAME.gguf       the first layer of test/goldens/families/NAME, converted as llama.cpp converts it
loaded.json     versions, and for each NAME how far transformers' own reading is from the checkpoint
smollm2.json    sha256 of float32 tensors that transformers reads from SmolLM2-135M-Instruct.Q4_1.gguf

Run: python tools/gguf-goldens.py [SmolLM2-135M-Instruct.Q4_1.gguf]
The conversion follows llama.cpp, conversion/{llama,gpt2,gpt_neox,gemma,phi,qwen}.py (before 2026:
convert_hf_to_gguf.py), `modify_tensors` of each class; tensor names come from gguf's own name map.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import load_file

SEED = 20
ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "test" / "goldens" / "gguf"
FAMILIES = ROOT / "test" / "goldens" / "families"
VERSIONS = {
    "gguf": "0.19.0",
    "numpy": np.__version__,
    "torch": torch.__version__.split("+")[0],
    "transformers": transformers.__version__,
    "seed": SEED,
}
BLOCK_TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
# Byte offsets of binary16 scales in a block; every other byte may be anything.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
# Ordinary, negative, zero, subnormal, and both ends of the range, so that large and small terms meet in a sum.
SCALE_VALUES = [0.0123, -0.37, 0.0, 6e-8, -5.1e-5, 1.0, 65504.0, -231.5]


def text(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def blocks():
    rng = np.random.default_rng(SEED)
    types = {}
    for name in BLOCK_TYPES:
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        if name in SCALES:
            count = 8 if elements == 32 else 4
            data = rng.integers(0, 256, (count, size), dtype=np.uint8)
            for row in range(count):
                for offset in SCALES[name]:
                    scale = np.float16(SCALE_VALUES[rng.integers(len(SCALE_VALUES))])
                    data[row, offset:offset + 2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
        else:
            values = rng.standard_normal(64).astype(np.float32)
            data = gguf.quants.quantize(values.reshape(1, -1), kind)
            data = data.view(np.uint8).reshape(1, -1)
        decoded = gguf.quants.dequantize(data, kind).astype(np.float32)
        types[name] = {"bytesPerBlock": size, "elementsPerBlock": elements, "bytes": text(data), "values": text(decoded)}
    (OUT / "blocks.json").write_text(json.dumps({"versions": VERSIONS, "types": types}, indent=1) + "\n")


def interleave(weight, heads):
    """llama.py, `permute`: rows of a head from (half, pair) to (pair, half)."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def converted(arch, name, value, config):
    """What `modify_tensors` of the converter makes of one tensor."""
    heads = config.get("num_attention_heads", config.get("n_head"))
    kv_heads = config.get("num_key_value_heads", heads)
    if arch == "llama" and ".q_proj." in name:
        return interleave(value, heads)
    if arch == "llama" and ".k_proj." in name:
        return interleave(value, kv_heads)
    if arch == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
        return value.T
    if arch == "gptneox" and ".query_key_value." in name:
        parts = value.reshape(heads, 3, value.shape[0] // heads // 3, *value.shape[1:])
        return torch.cat([parts[:, i].reshape(-1, *value.shape[1:]) for i in range(3)])
    if arch in ("gemma2", "gemma3") and name.endswith("norm.weight"):
        return value + 1
    return value


def metadata(writer, arch, config):
    get = lambda *names: next((config[n] for n in names if config.get(n) is not None), None)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    full = rope.get("full_attention", rope)
    hidden, heads = get("hidden_size", "n_embd"), get("num_attention_heads", "n_head")
    head_dim = get("head_dim") or hidden // heads
    writer.add_tokenizer_model("none")
    writer.add_token_list([f"t{i}" for i in range(config["vocab_size"])])
    writer.add_context_length(get("max_position_embeddings", "n_positions"))
    writer.add_embedding_length(hidden)
    writer.add_block_count(1)
    writer.add_feed_forward_length(get("intermediate_size", "n_inner") or 4 * hidden)
    writer.add_head_count(heads)
    if get("num_key_value_heads"):
        writer.add_head_count_kv(config["num_key_value_heads"])
    if get("rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    else:
        writer.add_layer_norm_eps(get("layer_norm_eps", "layer_norm_epsilon"))
    if get("head_dim"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    theta = get("rope_theta", "rotary_emb_base") or full.get("rope_theta")
    if theta:
        writer.add_rope_freq_base(theta)
    if arch == "llama":
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(head_dim)
    if arch == "gptneox":
        writer.add_rope_dimension_count(int(config["rotary_pct"] * head_dim))
        writer.add_parallel_residual(config["use_parallel_residual"])
    if arch == "phi2":
        writer.add_rope_dimension_count(int(config["partial_rotary_factor"] * hidden) // heads)
    if arch == "gptj":
        writer.add_rope_dimension_count(config["rotary_dim"])
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if arch in ("gemma2", "gemma3"):
        writer.add_sliding_window(config["sliding_window"])
    if arch == "gemma3":
        writer.add_rope_freq_base_swa(config.get("rope_local_base_freq") or rope["sliding_attention"]["rope_theta"])
    if full.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(full["factor"])


def rope_factors(config):
    """llama.py, `generate_extra_tensors`."""
    scaling = config["rope_scaling"]
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    frequencies = 1.0 / config["rope_theta"] ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original = scaling["original_max_position_embeddings"]
    factors = []
    for frequency in frequencies:
        wavelength = 2 * np.pi / frequency
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(factors, dtype=torch.float32)


def state(family):
    """The checkpoint's tensors outside the layers and of layer 0, less constant buffers."""
    merged = {}
    for path in sorted((FAMILIES / family / "model").glob("*.safetensors")):
        merged.update(load_file(path))
    buffers = (".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq")
    later = tuple(f".{part}.{layer}." for part in ("layers", "h") for layer in range(1, 8))
    return {n: v for n, v in merged.items() if not n.endswith(buffers) and not any(p in f".{n}" for p in later)}


def write(family, arch, fused=False):
    config = json.loads((FAMILIES / family / "model" / "config.json").read_text())
    tensors = state(family)
    path = OUT / f"{family}{'-fused' if fused else ''}.gguf"
    writer = gguf.GGUFWriter(path, arch)
    metadata(writer, arch, config)
    names = gguf.get_tensor_name_map(next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == arch), 1)
    if (config.get("rope_scaling") or {}).get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_factors(config).numpy())
    if fused:
        # Published before PhiForCausalLM entered transformers: one matrix, rows (part, head, feature).
        for suffix in ("weight", "bias"):
            prefix = "model.layers.0.self_attn."
            parts = [tensors.pop(f"{prefix}{part}_proj.{suffix}") for part in "qkv"]
            tensors[f"transformer.h.0.mixer.Wqkv.{suffix}"] = torch.cat(parts)
    for name, value in tensors.items():
        value = converted(arch, name, value, config)
        stem, suffix = name.rsplit(".", 1)
        target = names.get_name(stem)
        assert target is not None, name
        target = f"{target}.{suffix}"
        # base.py, `prepare_tensors`: one axis or a norm stays float32.
        if value.ndim == 1 or target.endswith("_norm.weight"):
            value = value.float()
        if value.dtype == torch.bfloat16:
            raw = value.contiguous().view(torch.int16).numpy().view(np.uint8)
            writer.add_tensor(target, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(target, value.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, tensors


def transformers_difference(path, tensors):
    """Largest difference of transformers' reading of the file from the checkpoint it was made of."""
    options = {}
    if path.stem in ("qwen3", "gpt2"):
        # transformers 5.23 does not read qwen3.attention.key_length and takes gpt2.context_length for n_ctx alone.
        config = json.loads((FAMILIES / path.stem / "model" / "config.json").read_text())
        kind = transformers.Qwen3Config if path.stem == "qwen3" else transformers.GPT2Config
        options["config"] = kind(**config | {"num_hidden_layers": 1, "n_layer": 1, "max_window_layers": 1})
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32, **options)
    loaded = model.state_dict()
    worst = 0.0
    for name, value in tensors.items():
        if name not in loaded:
            name = f"transformer.{name}"
        worst = max(worst, (loaded[name].float() - value.float()).abs().max().item())
    return worst


CONVERTED = [("llama", "llama"), ("llama-bias-head-dim", "llama"), ("llama-rope-llama3", "llama"), ("mistral", "llama"),
             ("qwen2", "qwen2"), ("qwen3", "qwen3"), ("gemma2", "gemma2"), ("gemma3", "gemma3"),
             ("gemma3-rope-linear", "gemma3"), ("gpt2", "gpt2"), ("gpt-neox", "gptneox"), ("gptj", "gptj"), ("phi", "phi2")]
# transformers reads these; it ignores biases of llama files and knows no gptneox, gptj or phi2.
CHECKED = {"llama", "llama-rope-llama3", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2"}


def families():
    report = {}
    for family, arch in CONVERTED:
        path, tensors = write(family, arch)
        report[family] = {"architecture": arch}
        if family in CHECKED:
            report[family]["transformers_max_difference"] = transformers_difference(path, tensors)
    write("phi", "phi2", fused=True)
    report["phi-fused"] = {"architecture": "phi2"}
    (OUT / "loaded.json").write_text(json.dumps({"versions": VERSIONS, "files": report}, indent=1) + "\n")


def smollm2(path):
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    loaded = model.state_dict()
    names = ["model.embed_tokens.weight", "model.norm.weight"]
    for layer in (0, 17, 29):
        prefix = f"model.layers.{layer}."
        names += [f"{prefix}self_attn.{p}_proj.weight" for p in "qkvo"] + [f"{prefix}mlp.{p}_proj.weight" for p in ("gate", "up", "down")]
        names.append(f"{prefix}input_layernorm.weight")
    tensors = {}
    for name in names:
        value = loaded[name].contiguous().numpy()
        assert value.dtype == np.float32
        tensors[name] = {"shape": list(value.shape), "sha256": hashlib.sha256(value.tobytes()).hexdigest(),
                         "first": [float(v) for v in value.reshape(-1)[:3]]}
    file_hash = hashlib.sha256(path.read_bytes()).hexdigest()
    keys = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "head_dim", "rms_norm_eps", "vocab_size", "max_position_embeddings", "tie_word_embeddings"]
    config = model.config.to_dict()
    golden = {"versions": VERSIONS, "file": path.name, "sha256": file_hash,
              "config": {k: config[k] for k in keys} | {"rope_theta": config["rope_parameters"]["rope_theta"]},
              "tensors": tensors}
    (OUT / "smollm2.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    blocks()
    families()
    if len(sys.argv) > 1:
        smollm2(Path(sys.argv[1]).resolve())
