"""The best loop by hand over Hugging Face: 30 patches a forward pass, last logits only, no cache."""

import torch

from pattern import pattern_sweep
from places import Places, capture, input_of, replace_input
from protocol import difference, load, named, serve

BATCH = 30  # no faster beyond it on two cores


def build(source):
    model = load(source)
    places = Places(model)

    def sweep(job, pair):
        site = job["site"]
        if site == "pattern":
            return pattern_sweep(model, job, pair, batch=BATCH)
        clean = capture(model, places, job, pair["clean"])
        cells = named(job)
        values = []
        for start in range(0, len(cells), BATCH):
            batch = cells[start : start + BATCH]
            handles = []
            for layer in {cell["layer"] for cell in batch}:
                rows = [(row, places.index(site, cell)) for row, cell in enumerate(batch) if cell["layer"] == layer]

                def patch(_, args, kwargs, layer=layer, rows=rows):
                    value = input_of(args, kwargs).clone()
                    for row, at in rows:
                        value[row][at] = clean[layer][at]
                    return replace_input(args, kwargs, value)

                handles.append(places.reader(site, layer).register_forward_pre_hook(patch, with_kwargs=True))
            ids = torch.tensor([pair["corrupt"]]).expand(len(batch), -1)
            values += difference(model(ids, logits_to_keep=1, use_cache=False).logits, pair).tolist()
            for handle in handles:
                handle.remove()
        return values

    return sweep


if __name__ == "__main__":
    serve("Hugging Face, 30 patches a batch", [], build)
