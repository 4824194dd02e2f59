"""
TransformerLens 2 and 4, by the helpers of `transformer_lens.patching`.

Version 2 knows models by name and asks the hub for their configuration. Here its configuration is built from that of
the loaded model and the weights are converted by its own converter: the same as `from_pretrained_no_processing`,
without a network. Version 4 wraps the loaded model itself.
"""

from importlib.metadata import version
from tempfile import TemporaryDirectory

import torch

from protocol import difference, load, named, serve

MAJOR = int(version("transformer_lens").split(".")[0])


def open_2(source):
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    hf = load(source, "eager")
    config = hf.config
    shared = dict(
        d_model=config.hidden_size, n_layers=config.num_hidden_layers, n_heads=config.num_attention_heads,
        d_head=config.hidden_size // config.num_attention_heads, d_vocab=config.vocab_size, device="cpu",
        n_ctx=config.max_position_embeddings, dtype=torch.float32, default_prepend_bos=False,
    )
    if config.model_type == "gpt2":
        from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights as convert

        own = dict(d_mlp=4 * config.hidden_size, eps=config.layer_norm_epsilon, act_fn="gelu_new",
                   normalization_type="LN")
    else:
        from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights as convert

        # As loading_from_pretrained.py has it for LlamaForCausalLM.
        own = dict(
            d_mlp=config.intermediate_size, eps=config.rms_norm_eps, act_fn="silu", gated_mlp=True, final_rms=True,
            normalization_type="RMS", positional_embedding_type="rotary", rotary_adjacent_pairs=False,
            rotary_dim=config.hidden_size // config.num_attention_heads, rotary_base=rotary_base(config),
            n_key_value_heads=None if config.num_key_value_heads == config.num_attention_heads
            else config.num_key_value_heads,
        )
    model = HookedTransformer(HookedTransformerConfig(**shared, **own))
    model.load_and_process_state_dict(
        convert(hf, model.cfg), fold_ln=False, center_writing_weights=False, center_unembed=False,
        fold_value_biases=False, refactor_factored_attn_matrices=False,
    )
    return model.eval()


def rotary_base(config) -> float:
    parameters = getattr(config, "rope_parameters", None) or {}
    return parameters.get("rope_theta") or config.rope_theta


def open_4(source):
    from tokenizers import Tokenizer, models
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    hf = load(source, "eager")
    # Jobs are token ids, but a tokenizer is asked for, and opened again with other settings.
    with TemporaryDirectory() as folder:
        PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")),
            unk_token="<unk>", bos_token="<unk>", eos_token="<unk>", pad_token="<unk>").save_pretrained(folder)
        return TransformerBridge.boot_transformers(
            hf.config.model_type, hf_model=hf, tokenizer=AutoTokenizer.from_pretrained(folder), device="cpu",
            dtype=torch.float32).eval()


def neuron_setter(corrupted, index, clean):
    layer, neuron = index
    corrupted[:, :, neuron] = clean[:, :, neuron]
    return corrupted


def build(source):
    from pandas import DataFrame
    from transformer_lens import patching

    model = open_2(source) if MAJOR < 3 else open_4(source)
    # Each: the helper for a whole grid where there is one, else the parts that the generic function takes.
    helpers = {
        ("resid_pre", "layer,pos"): (patching.get_act_patch_resid_pre, patching.layer_pos_patch_setter, "resid_pre"),
        ("z", "layer,head"):
            (patching.get_act_patch_attn_head_out_all_pos, patching.layer_head_vector_patch_setter, "z"),
        ("z", "layer,pos,head"):
            (patching.get_act_patch_attn_head_out_by_pos, patching.layer_pos_head_vector_patch_setter, "z"),
        ("pattern", "layer,head,dst,src"):
            (None, patching.layer_head_dest_src_pos_pattern_patch_setter, "pattern"),
        ("mlp_post", "layer,neuron"): (None, neuron_setter, "post"),
    }

    def sweep(job, pair):
        helper, setter, name = helpers[job["site"], ",".join(job["dims"])]
        wanted = f"hook_{name}" if name in ("resid_pre", "z", "pattern") else "hook_post"
        _, clean = model.run_with_cache(
            torch.tensor([pair["clean"]]), names_filter=lambda hook: hook.endswith(wanted))
        corrupt = torch.tensor([pair["corrupt"]])
        def metric(logits):
            return difference(logits[0], pair)

        if job["whole"] and helper is not None:
            return helper(model, corrupt, clean, metric).flatten().tolist()
        return patching.generic_activation_patch(
            model, corrupt, clean, metric, setter, name, index_df=DataFrame(job["cells"], columns=job["dims"])
        ).tolist()

    return sweep


if __name__ == "__main__":
    serve(f"TransformerLens {MAJOR}", ["transformer_lens"], build)
