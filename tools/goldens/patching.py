"""Activation patching by plain hooks: one whole forward pass for every patched cell."""

import torch

from capture import first, hidden_input, hooks, keep_input, keep_output
from layout import blocks


@torch.no_grad()
def logits_of(model, ids):
    return model(torch.tensor([ids])).logits[0, -1]


def patch_input(module, values, where):
    """Replaces the module's input at `where` (an index after the batch axis) by the source's."""
    def hook(_, inputs, named):
        hidden = hidden_input(inputs, named).clone()
        hidden[0][where] = values[where]
        return ((hidden, *inputs[1:]), named) if inputs else (inputs, {**named, "hidden_states": hidden})

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def patch_output(module, values, where):
    def hook(_, __, output):
        hidden = first(output).clone()
        hidden[0][where] = values[where]
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    return module.register_forward_hook(hook)


@torch.no_grad()
def source_values(model, ids):
    """Per layer: block input, input of the output projection, and what attention and MLP add to the stream."""
    kept: list[dict] = [{} for _ in blocks(model)]
    with hooks() as handles:
        for store, part in zip(kept, blocks(model), strict=True):
            handles += [keep_input(part.block, store, "resid_pre"), keep_input(part.output, store, "z"),
                        keep_output(part.attention_end, store, "attn_out"), keep_output(part.mlp_end, store, "mlp_out")]
        logits_of(model, ids)
    return kept


@torch.no_grad()
def denoise(model, clean: list[int], corrupt: list[int], metric, sites: tuple[str, ...]):
    """
    The metric of the corrupt run with one value of the clean run put in.

    `resid_pre`, `attn_out`, `mlp_out`: [layer, pos]; `z`: [layer, head], the head at all positions.
    """
    source = source_values(model, clean)
    parts = blocks(model)
    heads = model.config.num_attention_heads
    grids = {}
    for site in sites:
        rows = []
        for part, values in zip(parts, source, strict=True):
            width = values["z"].shape[1] // heads
            every = range(heads) if site == "z" else range(len(clean))
            row = []
            for cell in every:
                where = (slice(None), slice(cell * width, (cell + 1) * width)) if site == "z" else (cell,)
                place = {"resid_pre": part.block, "z": part.output, "attn_out": part.attention_end,
                         "mlp_out": part.mlp_end}[site]
                patch = patch_input if site in ("resid_pre", "z") else patch_output
                handle = patch(place, values[site], where)
                row.append(metric(logits_of(model, corrupt)).item())
                handle.remove()
            rows.append(row)
        grids[site] = torch.tensor(rows, dtype=torch.float64)
    return grids


@torch.no_grad()
def greedy(model, ids: list[int], count: int):
    """Greedy continuation, a whole pass per token, and the smallest lead of a first choice over the second."""
    sequence, lead = list(ids), float("inf")
    for _ in range(count):
        best = logits_of(model, sequence).topk(2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        sequence.append(best.indices[0].item())
    return sequence[len(ids):], lead
