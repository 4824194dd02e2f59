"""
Reads every site out of a Hugging Face forward pass.

Values come from hooks and from the arguments of the library's own attention function. What the library never
holds on its own (`result`, scores before the mask) is computed here, and `check` ties it back to a value that
the library did compute. Shapes are without the batch axis: pos first, or head first for scores and pattern.
"""

import contextlib
import math
import sys

import torch

from layout import blocks, final_norm


@contextlib.contextmanager
def hooks():
    """Collects hook handles and removes them all at the end."""
    handles: list = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()


def first(output):
    return output[0] if isinstance(output, tuple) else output


def hidden_input(inputs, named):
    """The hidden states given to a module: blocks take them by position or by name."""
    return inputs[0] if inputs else named["hidden_states"]


def keep_input(module, store: dict, name):
    """Copies what the module is given, without the batch axis, into `store[name]`."""
    def hook(_, inputs, named):
        store[name] = hidden_input(inputs, named)[0].clone()

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def keep_output(module, store: dict, name):
    def hook(_, __, output):
        store[name] = first(output)[0].clone()

    return module.register_forward_hook(hook)


@contextlib.contextmanager
def attention_recorder(model, kept: dict):
    """Keeps, per layer, what goes into and comes out of softmax(q k / scale + mask) v."""
    parts = blocks(model)
    if model.config.model_type == "gptj":
        for layer, part in enumerate(parts):
            part.attention._attn = gptj_recorder(part.attention, kept, layer)
        try:
            yield
        finally:
            for part in parts:
                del part.attention._attn
        return
    module = sys.modules[type(parts[0].attention).__module__]
    original = module.eager_attention_forward
    layer_of = {id(part.attention): layer for layer, part in enumerate(parts)}

    def record(attention, query, key, value, attention_mask, **options):
        output, pattern = original(attention, query, key, value, attention_mask, **options)
        kept[layer_of[id(attention)]] = {
            "query": query[0], "key": key[0], "value": value[0], "z": output[0], "pattern": pattern[0],
            "mask": attention_mask[0, 0], "scaling": options["scaling"], "softcap": options.get("softcap")}
        return output, pattern

    module.eager_attention_forward = record
    try:
        yield
    finally:
        module.eager_attention_forward = original


def gptj_recorder(attention, kept: dict, layer: int):
    original = attention._attn

    def record(query, key, value, attention_mask=None):
        output, pattern = original(query, key, value, attention_mask)
        kept[layer] = {"query": query[0], "key": key[0], "value": value[0], "z": output[0].transpose(0, 1),
                       "pattern": pattern[0], "mask": attention_mask[0, 0],
                       "scaling": 1 / attention.scale_attn, "softcap": None}
        return output, pattern

    return record


@torch.no_grad()
def capture(model, ids: list[int]) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Every site of one prompt, as `layer0.resid_pre` …, `final_norm`, `logits`; and the largest residue of each check."""
    parts = blocks(model)
    raw: list[dict] = [{} for _ in parts]
    ending: dict = {}
    attention: dict = {}
    with hooks() as handles, attention_recorder(model, attention):
        for part, own in zip(parts, raw, strict=True):
            inputs = {"resid_pre": part.block, "resid_mid": part.middle_norm, "mlp_post": part.down, "z_flat": part.output}
            outputs = {"resid_post": part.block, "attn_raw": part.attention, "attn_out": part.attention_end,
                       "mlp_raw": part.mlp, "mlp_out": part.mlp_end, "mlp_pre": part.up, "mlp_gate": part.gate,
                       "fused": part.fused, "query": part.query, "key": part.key,
                       "query_norm": part.query_norm, "key_norm": part.key_norm}
            handles += [keep_input(module, own, name) for name, module in inputs.items() if module is not None]
            handles += [keep_output(module, own, name) for name, module in outputs.items() if module is not None]
        handles.append(keep_output(final_norm(model), ending, "final_norm"))
        logits = model(torch.tensor([ids])).logits[0]

    sites = {**ending, "logits": logits}
    residues: dict[str, float] = {}
    for layer, (part, own) in enumerate(zip(parts, raw, strict=True)):
        block = block_sites(model, part, own, attention[layer])
        for name, size in check(model, part, own, attention[layer], block).items():
            residues[name] = max(residues.get(name, 0.0), size)
        sites |= {f"layer{layer}.{name}": value for name, value in block.items()}
    return sites, residues


def block_sites(model, part, raw: dict, attention: dict) -> dict[str, torch.Tensor]:
    """The named values of one block."""
    names = ["resid_pre", "attn_out", "mlp_pre", "mlp_post", "mlp_out", "resid_post"]
    if part.middle_norm is not None:
        names.append("resid_mid")
    if part.gate is not None:
        names.append("mlp_gate")
    if part.attention_end is not part.attention:
        names += ["attn_raw", "mlp_raw"]
    sites = {name: raw[name] for name in names}
    sites["q"], sites["k"] = before_rotary(model, part, raw, attention)
    sites["v"] = attention["value"].transpose(0, 1)
    if model.config.model_type != "gpt2":
        sites["rot_q"], sites["rot_k"] = attention["query"].transpose(0, 1), attention["key"].transpose(0, 1)
    group = attention["query"].shape[0] // attention["key"].shape[0]
    scores = attention["query"] @ attention["key"].repeat_interleave(group, 0).transpose(1, 2) * attention["scaling"]
    if attention["softcap"] is not None:
        scores = torch.tanh(scores / attention["softcap"]) * attention["softcap"]
    sites["scores"], sites["pattern"] = scores, attention["pattern"]
    sites["z"] = attention["z"]
    heads, width = sites["z"].shape[1:]
    weight = part.output.weight if model.config.model_type != "gpt2" else part.output.weight.T
    sites["result"] = torch.einsum("phd,mhd->phm", sites["z"], weight.reshape(weight.shape[0], heads, width))
    return {name: value.contiguous() for name, value in sites.items()}


def before_rotary(model, part, raw: dict, attention: dict):
    """q [pos, head, d_head] and k [pos, kv_head, d_head] before rotary, after any query-key norm."""
    heads, kv_heads, width = attention["query"].shape[0], attention["key"].shape[0], attention["query"].shape[2]
    if part.fused is not None:
        length = raw["fused"].shape[0]
        if model.config.model_type == "gpt2":  # [pos, (q|k|v) · head · d_head]
            query, key, _ = raw["fused"].reshape(length, 3, heads, width).unbind(1)
        else:  # GPT-NeoX: [pos, head · (q|k|v) · d_head]
            query, key, _ = raw["fused"].reshape(length, heads, 3, width).unbind(2)
        return query, key
    found = []
    for name, count in (("query", heads), ("key", kv_heads)):
        value = raw.get(f"{name}_norm", raw[name])
        if value.dim() == 2:
            value = value.reshape(-1, count, width)
        elif value.shape[0] == count and value.shape[1] != count:  # normed after the transpose: [head, pos, d_head]
            value = value.transpose(0, 1)
        found.append(value)
    return found


def check(model, part, raw: dict, attention: dict, sites: dict) -> dict[str, float]:
    """Largest absolute difference between what was computed here and what the library computed."""
    def gap(one, other):
        return (one - other).abs().max().item()

    group = attention["query"].shape[0] // attention["key"].shape[0]
    value = attention["value"].repeat_interleave(group, 0)
    bias = 0 if part.output.bias is None else part.output.bias
    written = sites["resid_pre"] + sites["attn_out"]
    residues = {
        "pattern = softmax(scores + mask)": gap((sites["scores"] + attention["mask"]).softmax(-1), sites["pattern"]),
        "z = pattern v": gap((sites["pattern"] @ value).transpose(0, 1), sites["z"]),
        "z = input of the output projection": gap(sites["z"].flatten(1), raw["z_flat"]),
        "sum of result + bias = attention output": gap(sites["result"].sum(1) + bias, raw["attn_raw"]),
        "resid_post = resid_pre + attn_out + mlp_out": gap(written + sites["mlp_out"], sites["resid_post"]),
    }
    if "resid_mid" in sites:
        residues["resid_mid = resid_pre + attn_out"] = gap(written, sites["resid_mid"])
    angles = rotary_angles(model, part.attention, sites["q"].shape[2])
    for name in ("q", "k"):
        seen = attention["query" if name == "q" else "key"].transpose(0, 1)
        expected = sites[name] if angles is None else rotate(sites[name], angles, model.config.model_type == "gptj")
        residues[f"rot_{name} = rotary({name})"] = gap(expected, seen)
    return residues


def rotary_angles(model, attention, width: int):
    """Angle per position step of each rotated pair, from the published formulas, in float64; None without rotary."""
    config = model.config
    if config.model_type == "gpt2":
        return None
    if config.model_type == "gptj":
        return 10000.0 ** (-torch.arange(0, config.rotary_dim, 2, dtype=torch.float64) / config.rotary_dim)
    rope = config.rope_parameters
    if config.model_type == "gemma3_text":
        rope = rope[attention.layer_type]
    rotated = int(width * rope.get("partial_rotary_factor", 1.0))
    angles = rope["rope_theta"] ** (-torch.arange(0, rotated, 2, dtype=torch.float64) / rotated)
    if rope["rope_type"] == "linear":
        return angles / rope["factor"]
    if rope["rope_type"] == "llama3":
        turns = rope["original_max_position_embeddings"] * angles / (2 * math.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        keep = ((turns - low) / (high - low)).clamp(0, 1)
        return angles * (keep + (1 - keep) / rope["factor"])
    assert rope["rope_type"] == "default"
    return angles


def rotate(values, angles, interleaved: bool):
    """Turns pairs of the first 2·len(angles) dimensions by position · angle; the rest passes through."""
    turn = torch.arange(values.shape[0], dtype=torch.float64)[:, None, None] * angles
    count = 2 * len(angles)
    rotated = values[..., :count].double()
    one, two = (rotated[..., ::2], rotated[..., 1::2]) if interleaved else rotated.chunk(2, -1)
    pair = [one * turn.cos() - two * turn.sin(), two * turn.cos() + one * turn.sin()]
    turned = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    return torch.cat([turned.to(values.dtype), values[..., count:]], -1)
