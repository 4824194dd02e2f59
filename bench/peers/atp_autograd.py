"""
Attribution patching of every node by PyTorch's autograd alone, on the Hugging Face model: one pass over the clean
prompt that keeps values, one over the corrupt prompt that keeps them with their gradients, one backward pass from the
logit difference, and (clean − corrupt) · gradient summed over each node (Nanda 2023).

A job's `details.sites` names the sites; its answer is one row of effects: for each site all layers, of these all
positions, of these all heads where the site has heads.
"""

import torch

from places import input_of
from protocol import difference, load, serve


def build(source):
    model = load(source)
    width = model.config.head_dim
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # gradients by weights are nobody's question

    def module_of(site, layer):
        """The module that a site goes into or comes out of, and which of the two."""
        attention, mlp = layer.self_attn, layer.mlp
        return {
            "resid_pre": (layer, "in"),
            "q": (attention.q_proj, "out"),
            "k": (attention.k_proj, "out"),
            "v": (attention.v_proj, "out"),
            "z": (attention.o_proj, "in"),
            "attn_out": (attention.o_proj, "out"),
            "resid_mid": (layer.post_attention_layernorm, "in"),
            "mlp_post": (mlp.down_proj, "in"),
            "mlp_out": (mlp.down_proj, "out"),
        }[site]

    def run(sites, ids, with_gradients):
        kept, handles = {}, []

        def keeper(key):
            def keep(value):
                if with_gradients:
                    value.retain_grad()
                kept[key] = value
            return keep

        for site in sites:
            for index, layer in enumerate(model.model.layers):
                module, side = module_of(site, layer)
                keep = keeper((site, index))
                if side == "in":
                    def before(_, args, kwargs, keep=keep):
                        keep(input_of(args, kwargs))
                    handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                else:
                    def after(_, args, value, keep=keep):
                        keep(value)
                    handles.append(module.register_forward_hook(after))
        embedded = model.get_input_embeddings()(torch.tensor([ids])).requires_grad_(with_gradients)
        logits = model(inputs_embeds=embedded, use_cache=False, logits_to_keep=1).logits[0]
        for handle in handles:
            handle.remove()
        return kept, logits

    def sweep(job, pair):
        sites = job["details"]["sites"]
        clean, _ = run(sites, pair["clean"], False)
        with torch.enable_grad():
            corrupt, logits = run(sites, pair["corrupt"], True)
            difference(logits, pair).backward()
        effects = []
        for site in sites:
            layers = range(len(model.model.layers))
            products = torch.stack([
                ((clean[site, at] - corrupt[site, at].detach()) * corrupt[site, at].grad)[0] for at in layers
            ])
            if site in ("q", "k", "v", "z"):
                products = products.unflatten(-1, (-1, width))
            effects.append(products.sum(-1).flatten())
        return torch.cat(effects).tolist()

    return sweep


if __name__ == "__main__":
    serve("PyTorch autograd", [], build)
