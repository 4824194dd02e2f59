"""
Edge attribution patching on the hooks of TransformerLens 2, the library that the EAP-IG package runs on; that package
itself is on no package registry. All pairs are one batch: a pass over the corrupt prompts and one over the clean ones
fill one tensor of differences [pair, position, source, width], and the backward pass multiplies it with the gradient
by every input (Syed et al. 2023, eq. 4).

A job's `details.pairs` are the pairs; its answer is one row of scores in the order of `details.targets`: for each
target, all its sources. The job with site `peak_bytes` answers with the process's largest resident set since the
model was opened and one job was done.
"""

import torch

from protocol import serve
from transformerlens import open_2


def peak_bytes():
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def forget_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def build(source):
    model = open_2(source)
    model.set_use_attn_result(True)
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    layers, heads, width = model.cfg.n_layers, model.cfg.n_heads, model.cfg.d_model
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # gradients by weights are nobody's question
    jobs = 0

    def sweep(job, _):
        nonlocal jobs
        if job["site"] == "peak_bytes":
            return [peak_bytes()]
        pairs = job["details"]["pairs"]
        clean = torch.tensor([pair["clean"] for pair in pairs])
        corrupt = torch.tensor([pair["corrupt"] for pair in pairs])
        rows = torch.arange(len(pairs))
        answers = torch.tensor([pair["answer"] for pair in pairs])
        foils = torch.tensor([pair["foil"] for pair in pairs])
        differences = torch.zeros(*clean.shape, 1 + layers * (heads + 1), width)
        scores = []

        def written(sign, first, count):
            def hook(value, hook):
                part = value.detach() if count > 1 else value.detach().unsqueeze(2)
                differences[:, :, first:first + count] += sign * part
            return hook

        def outputs(sign):
            hooks = [("hook_embed", written(sign, 0, 1))]
            for layer in range(layers):
                first = 1 + layer * (heads + 1)
                hooks.append((f"blocks.{layer}.attn.hook_result", written(sign, first, heads)))
                hooks.append((f"blocks.{layer}.hook_mlp_out", written(sign, first + heads, 1)))
            return hooks

        found = {}

        def read(name, sources):
            def hook(gradient, hook):
                gradient = gradient if gradient.dim() == 4 else gradient.unsqueeze(2)
                found[name] = torch.einsum("bpsd,bptd->ts", differences[:, :, :sources], gradient)
            return hook

        inputs = [(f"blocks.{layers - 1}.hook_resid_post", read("logits", 1 + layers * (heads + 1)))]
        for layer in range(layers):
            first = 1 + layer * (heads + 1)
            for slot in "qkv":
                inputs.append((f"blocks.{layer}.hook_{slot}_input", read((layer, slot), first)))
            inputs.append((f"blocks.{layer}.hook_mlp_in", read((layer, "m"), first + heads)))

        # Differences are clean less corrupt: scores are drops of the metric.
        with model.hooks(fwd_hooks=outputs(-1)):
            model(corrupt)
        with torch.enable_grad():
            def leaf(value, hook):
                return value.requires_grad_(True)
            with model.hooks(fwd_hooks=[("hook_embed", leaf), *outputs(1)], bwd_hooks=inputs):
                logits = model(clean)[:, -1]
                (logits[rows, answers] - logits[rows, foils]).sum().backward()
        for layer in range(layers):
            scores += [found[(layer, slot)] for slot in "qkvm"]
        scores.append(found["logits"])
        jobs += 1
        if jobs == 1:
            forget_peak()
        return (torch.cat([score.flatten() for score in scores]) / len(pairs)).tolist()

    return sweep


if __name__ == "__main__":
    serve("EAP on TransformerLens 2", ["transformer_lens"], build)
