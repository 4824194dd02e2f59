"""nnsight: 30 patches a trace, each in a row of the batch of its own, last logits only."""

import torch

from places import Places
from protocol import difference, load, named, serve

BATCH = 30


def build(source):
    from nnsight import NNsight

    hf = load(source)
    places = Places(hf)
    model = NNsight(hf)
    layers = model.transformer.h if places.gpt2 else model.model.layers

    def reader(site, layer):
        block = layers[layer]
        match site:
            case "resid_pre":
                return block
            case "z":
                return block.attn.c_proj if places.gpt2 else block.self_attn.o_proj
            case "mlp_post":
                return block.mlp.c_proj if places.gpt2 else block.mlp.down_proj
        raise NotImplementedError(f"{site} is inside a module, where tracing does not reach")

    def sweep(job, pair):
        cells = named(job)
        touched = sorted({cell["layer"] for cell in cells})  # modules are traced in order of execution
        readers = {layer: reader(job["site"], layer) for layer in touched}
        clean = {}
        with model.trace(torch.tensor([pair["clean"]]), use_cache=False):
            for layer in touched:
                clean[layer] = readers[layer].input.clone().save()
        values = []
        for start in range(0, len(cells), BATCH):
            batch = cells[start : start + BATCH]
            edits = {}
            for row, cell in enumerate(batch):
                edits.setdefault(cell["layer"], []).append((row, places.index(job["site"], cell)))
            ids = torch.tensor([pair["corrupt"]]).expand(len(batch), -1)
            with model.trace(ids, use_cache=False, logits_to_keep=1):
                for layer in sorted(edits):
                    value = readers[layer].input.clone()
                    for row, at in edits[layer]:
                        value[row][at] = clean[layer][0][at]
                    readers[layer].input = value
                logits = model.output.logits.save()
            values += difference(logits, pair).tolist()
        return values

    return sweep


if __name__ == "__main__":
    serve("nnsight", ["nnsight"], build)
