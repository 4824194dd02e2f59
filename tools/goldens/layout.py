"""Where each architecture keeps its parts: the only knowledge of module names in these scripts."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Block:
    block: nn.Module
    attention: nn.Module
    mlp: nn.Module
    # The module whose output is added to the residual stream: the post-norm where there is one.
    attention_end: nn.Module
    mlp_end: nn.Module
    # The norm that reads resid_mid; None in a parallel block.
    middle_norm: nn.Module | None
    # Projections. `fused` gives q, k and v in one product.
    fused: nn.Module | None
    query: nn.Module | None
    key: nn.Module | None
    query_norm: nn.Module | None
    key_norm: nn.Module | None
    output: nn.Module
    up: nn.Module
    gate: nn.Module | None
    down: nn.Module


def blocks(model) -> list[Block]:
    kind = model.config.model_type
    if kind in ("gpt2", "gptj"):
        return [gpt(block, kind) for block in model.transformer.h]
    if kind == "gpt_neox":
        return [neox(block) for block in model.gpt_neox.layers]
    return [llama_like(block, kind) for block in model.model.layers]


def final_norm(model) -> nn.Module:
    kind = model.config.model_type
    if kind in ("gpt2", "gptj"):
        return model.transformer.ln_f
    if kind == "gpt_neox":
        return model.gpt_neox.final_layer_norm
    return model.model.final_layernorm if kind == "phi" else model.model.norm


def gpt(block, kind: str) -> Block:
    attention, mlp = block.attn, block.mlp
    two = kind == "gpt2"
    return Block(
        block, attention, mlp, attention, mlp,
        middle_norm=block.ln_2 if two else None,
        fused=attention.c_attn if two else None,
        query=None if two else attention.q_proj, key=None if two else attention.k_proj,
        query_norm=None, key_norm=None,
        output=attention.c_proj if two else attention.out_proj,
        up=mlp.c_fc if two else mlp.fc_in, gate=None, down=mlp.c_proj if two else mlp.fc_out)


def neox(block) -> Block:
    attention, mlp = block.attention, block.mlp
    return Block(
        block, attention, mlp, attention, mlp,
        middle_norm=None if block.use_parallel_residual else block.post_attention_layernorm,
        fused=attention.query_key_value, query=None, key=None, query_norm=None, key_norm=None,
        output=attention.dense, up=mlp.dense_h_to_4h, gate=None, down=mlp.dense_4h_to_h)


def llama_like(block, kind: str) -> Block:
    attention, mlp, phi = block.self_attn, block.mlp, kind == "phi"
    sandwich = kind.startswith("gemma")
    norms = ("q_layernorm", "k_layernorm") if phi else ("q_norm", "k_norm")
    middle = None if phi else block.pre_feedforward_layernorm if sandwich else block.post_attention_layernorm
    return Block(
        block, attention, mlp,
        attention_end=block.post_attention_layernorm if sandwich else attention,
        mlp_end=block.post_feedforward_layernorm if sandwich else mlp,
        middle_norm=middle,
        fused=None, query=attention.q_proj, key=attention.k_proj,
        query_norm=getattr(attention, norms[0], None), key_norm=getattr(attention, norms[1], None),
        output=attention.dense if phi else attention.o_proj,
        up=mlp.fc1 if phi else mlp.up_proj, gate=None if phi else mlp.gate_proj,
        down=mlp.fc2 if phi else mlp.down_proj)
