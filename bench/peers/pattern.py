"""Patching attention patterns in transformers: no module has them as input, so attention itself is written out."""

import torch
from transformers import AttentionInterface

from protocol import difference, named

edit = None
"""Called with (layer, pattern [batch, head, dst, src]) between softmax and mixing; returns the pattern to use."""


def written_out(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_):
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    tokens = scores.shape[-1]
    future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    pattern = scores.masked_fill(future, -torch.inf).softmax(-1)
    pattern = edit(module.layer_idx, pattern)
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


AttentionInterface.register("written_out", written_out)


def pattern_sweep(model, job, pair, batch: int) -> list[float]:
    """Cells by layer, head, dst, src: one number of one head's pattern each."""
    global edit
    usual = model.config._attn_implementation
    model.set_attn_implementation("written_out")
    keep = {} if batch == 1 else {"logits_to_keep": 1, "use_cache": False}
    try:
        clean = {}

        def remember(layer, pattern):
            clean[layer] = pattern[0].clone()
            return pattern

        edit = remember
        model(torch.tensor([pair["clean"]]))
        cells, values = named(job), []
        for start in range(0, len(cells), batch):
            rows = cells[start : start + batch]

            def patch(layer, pattern, rows=rows):
                for row, cell in enumerate(rows):
                    if cell["layer"] == layer:
                        at = cell["head"], cell["dst"], cell["src"]
                        pattern[row][at] = clean[layer][at]
                return pattern

            edit = patch
            ids = torch.tensor([pair["corrupt"]]).expand(len(rows), -1)
            values += difference(model(ids, **keep).logits, pair).tolist()
        return values
    finally:
        model.set_attn_implementation(usual)
