"""The tiny models: one per architecture, and one per option that changes what a block computes.

Sizes are chosen so that no two dimensions that could be confused are equal, epsilons and rotary bases
differ from the defaults so that ignoring one shows in the logits, and windows are shorter than the prompts.

A `hub` layout writes config.json with the keys that published checkpoints carry (`rope_theta`,
`rope_scaling`, `rotary_pct`, `torch_dtype`); a `current` layout is what `save_pretrained` of the pinned
transformers release writes (`rope_parameters`, `layer_types`, `dtype`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    name: str
    architecture: str
    config: dict
    seed: int
    dtype: str = "float32"
    layout: str = "hub"
    # Published GPT-2 files lack the `transformer.` prefix.
    drop_prefix: str = ""
    # Constant buffers that older checkpoints carry and a loader has to pass over.
    stale_buffers: bool = False
    shard_bytes: int | None = None
    causal: bool = True


TOKENS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}

GPT2 = {"model_type": "gpt2", "n_embd": 24, "n_head": 3, "n_layer": 2, "n_positions": 32, "vocab_size": 61,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-3,
        "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, **TOKENS}

NEOX = {"model_type": "gpt_neox", "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2,
        "intermediate_size": 28, "max_position_embeddings": 32, "vocab_size": 53, "hidden_act": "gelu",
        "layer_norm_eps": 1e-3, "rotary_pct": 0.25, "rotary_emb_base": 300, "use_parallel_residual": True,
        "tie_word_embeddings": False, "attention_dropout": 0.0, "hidden_dropout": 0.0, **TOKENS}

LLAMA = {"model_type": "llama", "hidden_size": 24, "num_attention_heads": 3, "num_key_value_heads": 3,
         "num_hidden_layers": 2, "intermediate_size": 28, "max_position_embeddings": 64, "vocab_size": 59,
         "hidden_act": "silu", "rms_norm_eps": 1e-3, "rope_theta": 500.0, "rope_scaling": None,
         "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False, **TOKENS}
GQA = {"num_attention_heads": 6, "num_key_value_heads": 2, "hidden_size": 24}

PHI = {"model_type": "phi", "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2,
       "num_hidden_layers": 2, "intermediate_size": 28, "max_position_embeddings": 32, "vocab_size": 53,
       "hidden_act": "gelu_new", "layer_norm_eps": 1e-3, "partial_rotary_factor": 0.5, "rope_theta": 400.0,
       "rope_scaling": None, "qk_layernorm": False, "tie_word_embeddings": False, "attention_dropout": 0.0,
       "embd_pdrop": 0.0, "resid_pdrop": 0.0, **TOKENS}

QWEN = {"hidden_size": 24, "num_attention_heads": 6, "num_key_value_heads": 2, "num_hidden_layers": 2,
        "intermediate_size": 28, "max_position_embeddings": 64, "vocab_size": 59, "hidden_act": "silu",
        "rms_norm_eps": 1e-3, "rope_theta": 2000.0, "tie_word_embeddings": False, "attention_dropout": 0.0,
        **TOKENS}

GEMMA = {"hidden_size": 24, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 10,
         "intermediate_size": 28, "max_position_embeddings": 64, "vocab_size": 57,
         "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-3, "attention_bias": False,
         "attention_dropout": 0.0, "tie_word_embeddings": True,
         "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
GEMMA3 = {**GEMMA, "model_type": "gemma3_text", "num_hidden_layers": 3, "query_pre_attn_scalar": 6,
          "sliding_window": 4, "sliding_window_pattern": 3, "rope_theta": 5000.0, "rope_local_base_freq": 50.0,
          "rope_scaling": None, "attn_logit_softcapping": None, "final_logit_softcapping": None,
          "use_bidirectional_attention": False}

VARIANTS = [
    Variant("gpt2", "GPT2LMHeadModel", GPT2, 101, drop_prefix="transformer.", stale_buffers=True),
    Variant("gpt2-layer-scaled", "GPT2LMHeadModel",
            {**GPT2, "scale_attn_by_inverse_layer_idx": True, "n_inner": 40}, 102, "float16", "current"),
    Variant("gpt-neox", "GPTNeoXForCausalLM", NEOX, 103, "float16", stale_buffers=True),
    Variant("gpt-neox-sequential", "GPTNeoXForCausalLM", {**NEOX, "use_parallel_residual": False}, 104,
            layout="current"),
    Variant("gptj", "GPTJForCausalLM",
            {"model_type": "gptj", "n_embd": 24, "n_head": 3, "n_layer": 2, "n_positions": 32, "rotary_dim": 4,
             "n_inner": None, "vocab_size": 53, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-3,
             "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "tie_word_embeddings": False, **TOKENS}, 105),
    Variant("llama", "LlamaForCausalLM", LLAMA, 106, layout="current"),
    Variant("llama-gqa-tied", "LlamaForCausalLM", {**LLAMA, **GQA, "tie_word_embeddings": True}, 107, "bfloat16"),
    Variant("llama-rope-llama3", "LlamaForCausalLM",
            {**LLAMA, "rope_theta": 1000.0,
             # Head dimension 8: wavelengths 6, 35, 199, 1117 fall below, between and above the two limits.
             "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                              "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}, 108),
    Variant("llama-rope-linear", "LlamaForCausalLM",
            {**LLAMA, "rope_scaling": {"type": "linear", "factor": 2.5}}, 109),
    Variant("llama-bias-head-dim", "LlamaForCausalLM",
            {**LLAMA, **GQA, "num_attention_heads": 4, "head_dim": 10, "attention_bias": True, "mlp_bias": True}, 110),
    Variant("mistral", "MistralForCausalLM",
            {**LLAMA, **GQA, "model_type": "mistral", "sliding_window": 4}, 111, shard_bytes=16_000),
    Variant("qwen2", "Qwen2ForCausalLM",
            {**QWEN, "model_type": "qwen2", "use_sliding_window": False, "sliding_window": 4, "max_window_layers": 1},
            112, "bfloat16"),
    Variant("qwen2-sliding", "Qwen2ForCausalLM",
            {**QWEN, "model_type": "qwen2", "num_hidden_layers": 3, "use_sliding_window": True, "sliding_window": 5,
             "max_window_layers": 1}, 113),
    Variant("qwen3", "Qwen3ForCausalLM",
            {**QWEN, "model_type": "qwen3", "head_dim": 10, "attention_bias": False, "tie_word_embeddings": True,
             "use_sliding_window": False, "sliding_window": None, "max_window_layers": 2}, 114),
    Variant("phi", "PhiForCausalLM", PHI, 115),
    Variant("phi-qk-norm", "PhiForCausalLM", {**PHI, "qk_layernorm": True}, 116, layout="current"),
    Variant("gemma2", "Gemma2ForCausalLM",
            {**GEMMA, "model_type": "gemma2", "num_hidden_layers": 3, "query_pre_attn_scalar": 5,
             "sliding_window": 4, "rope_theta": 700.0, "attn_logit_softcapping": 2.5,
             "final_logit_softcapping": 4.0}, 117),
    Variant("gemma3", "Gemma3ForCausalLM", GEMMA3, 118),
    Variant("gemma3-rope-linear", "Gemma3ForCausalLM",
            {**GEMMA3, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}, 119,
            layout="current"),
    Variant("gemma3-bidirectional", "Gemma3ForCausalLM",
            {**GEMMA3, "sliding_window": 6, "use_bidirectional_attention": True}, 120,
            causal=False),
]
