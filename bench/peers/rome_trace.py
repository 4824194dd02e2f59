"""
Causal tracing as Meng et al. 2022 released it (rome, experiments/causal_trace.py): one forward pass a cell, over the
clean prompt and its noised copies together; hooks add the noise and put the clean row's value into the others.
The noise is given instead of drawn, so that values can be compared.
"""

import torch

from protocol import load, named, serve

KINDS = {"resid_post": lambda layer: layer, "mlp_out": lambda layer: layer.mlp, "attn_out": lambda layer: layer.self_attn}


def first(output):
    return output[0] if isinstance(output, tuple) else output


def build(source):
    model = load(source)
    layers = model.model.layers

    def window(kind, layer, details):
        if kind == "resid_post":
            return [layer]
        width = details["window"]
        return range(max(0, layer - width // 2), min(len(layers), layer - (-width // 2)))

    def sweep(job, pair):
        details = job["details"]
        samples, subject = details["samples"], details["subject"]
        noise = torch.tensor(details["noise"]).view(samples, len(subject), -1)
        ids = torch.tensor([pair["clean"]]).expand(1 + samples, -1)

        def add_noise(_, __, output):
            output = output.clone()
            output[1:, subject] += noise
            return output

        def probability():
            return torch.softmax(model(ids).logits[1:, -1], dim=-1)[:, pair["answer"]].mean().item()

        embedding = model.model.embed_tokens.register_forward_hook(add_noise)
        probability()  # the noised run with nothing restored
        values = []
        for cell in named(job):
            kind, position = details["sites"][cell["site"]], cell["pos"]

            def restore(_, __, output):
                first(output)[1:, position] = first(output)[0, position]
                return output

            modules = [KINDS[kind](layers[layer]) for layer in window(kind, cell["layer"], details)]
            handles = [module.register_forward_hook(restore) for module in modules]
            values.append(probability())
            for handle in handles:
                handle.remove()
        embedding.remove()
        return values

    return sweep


if __name__ == "__main__":
    serve("ROME", [], build)
