"""
How far the logits move when one setting of config.json is ignored or taken at its usual value.

A golden that would come out the same without a setting cannot tell whether the setting is honoured.
"""

import copy

import torch
from transformers import AutoConfig, AutoModelForCausalLM

EPSILONS = ("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps")
ACTIVATIONS = ("activation_function", "hidden_act", "hidden_activation")


def alternatives(config: dict) -> dict[str, dict]:
    """Changed settings by name; only those that this model uses."""
    changes: dict[str, dict] = {}
    for key in EPSILONS:
        if key in config:
            changes[key] = {key: 1e-6}
    for key in ACTIVATIONS:
        if key in config:
            changes[key] = {key: "gelu_new" if config[key] == "gelu" else "gelu"}
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        if config.get(key) is not None:
            changes[key] = {key: None}
    if config.get("sliding_window") is not None:
        changes["sliding_window"] = {"sliding_window": 1000}
        changes["sliding_window off by one"] = {
            "sliding_window": config["sliding_window"] + (2 if config.get("use_bidirectional_attention") else 1)}
    if len(set(config.get("layer_types") or [])) > 1:
        changes["layer_types"] = {"layer_types": config["layer_types"][1:] + config["layer_types"][:1]}
    if "query_pre_attn_scalar" in config:
        changes["query_pre_attn_scalar"] = {"query_pre_attn_scalar": config["head_dim"]}
    for key in ("scale_attn_by_inverse_layer_idx", "use_bidirectional_attention"):
        if config.get(key):
            changes[key] = {key: False}
    if "use_parallel_residual" in config:
        changes["use_parallel_residual"] = {"use_parallel_residual": not config["use_parallel_residual"]}
    if "rotary_dim" in config:
        changes["rotary_dim"] = {"rotary_dim": config["n_embd"] // config["n_head"]}
    return changes | rope_alternatives(config.get("rope_parameters"))


def rope_alternatives(rope: dict | None) -> dict[str, dict]:
    if rope is None:
        return {}
    changes: dict[str, dict] = {}
    nested = "rope_theta" not in rope  # Gemma 3 has one set per kind of layer
    for kind, settings in (rope.items() if nested else [("", rope)]):
        def changed(new: dict, kind=kind):
            return {"rope_parameters": {**copy.deepcopy(rope), kind: new} if nested else new}

        suffix = f" of {kind}" if nested else ""
        changes[f"rope_theta{suffix}"] = changed({**settings, "rope_theta": 3 * settings["rope_theta"]})
        if settings["rope_type"] != "default":
            changes[f"rope scaling{suffix}"] = changed({"rope_type": "default", "rope_theta": settings["rope_theta"]})
        if "partial_rotary_factor" in settings and settings["partial_rotary_factor"] != 1:
            changes["partial_rotary_factor"] = changed({**settings, "partial_rotary_factor": 1.0})
    return changes


@torch.no_grad()
def sensitivity(model, ids: list[int]) -> dict[str, float]:
    """Largest absolute change of a logit, by changed setting."""
    config = {**model.config.to_dict(), "dtype": None}
    expected = model(torch.tensor([ids])).logits
    moved = {}
    for name, change in alternatives(config).items():
        other = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(**copy.deepcopy({**config, **change})), dtype=torch.float32, attn_implementation="eager")
        other.load_state_dict(model.state_dict())
        moved[name] = (other.eval()(torch.tensor([ids])).logits - expected).abs().max().item()
    return moved
