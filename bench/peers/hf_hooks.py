"""Plain Hugging Face hooks: one whole forward pass for each patch, as most notebooks do it."""

import torch

from pattern import pattern_sweep
from places import Places, capture, input_of, replace_input
from protocol import difference, load, named, serve


def build(source):
    model = load(source)
    places = Places(model)

    def sweep(job, pair):
        site = job["site"]
        if site == "pattern":
            return pattern_sweep(model, job, pair, batch=1)
        clean = capture(model, places, job, pair["clean"])
        corrupt = torch.tensor([pair["corrupt"]])
        values = []
        for cell in named(job):
            at = places.index(site, cell)

            def patch(_, args, kwargs):
                value = input_of(args, kwargs).clone()
                value[0][at] = clean[cell["layer"]][at]
                return replace_input(args, kwargs, value)

            handle = places.reader(site, cell["layer"]).register_forward_pre_hook(patch, with_kwargs=True)
            values.append(difference(model(corrupt).logits[0], pair).item())
            handle.remove()
        return values

    return sweep


if __name__ == "__main__":
    serve("Hugging Face hooks", [], build)
