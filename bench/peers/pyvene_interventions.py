"""pyvene: one intervention a forward pass, as in its own tutorials; the source run is collected once a layer."""

import torch

from protocol import difference, load, named, serve

COMPONENTS = {
    ("resid_pre", "layer,pos"): ("block_input", "pos"),
    ("z", "layer,head"): ("head_attention_value_output", "h"),
    ("z", "layer,pos,head"): ("head_attention_value_output", "h.pos"),
}


def build(source):
    import pyvene

    model = load(source)

    def sweep(job, pair):
        kind = job["site"], ",".join(job["dims"])
        if kind not in COMPONENTS:
            raise NotImplementedError(f"pyvene has no unit for {job['site']} by {kind[1]}")
        component, unit = COMPONENTS[kind]
        clean, corrupt = torch.tensor([pair["clean"]]), torch.tensor([pair["corrupt"]])
        tokens = list(range(corrupt.shape[1]))
        values, opened = [], {}
        for cell in named(job):
            layer = cell["layer"]
            if layer not in opened:
                opened = {layer: pyvene.IntervenableModel(
                    pyvene.IntervenableConfig([{"layer": layer, "component": component, "unit": unit,
                                                "intervention_type": pyvene.VanillaIntervention}]), model)}
            match unit:
                case "pos":
                    where = [[[cell["pos"]]]]
                case "h":
                    where = [[[cell["head"]]]]
                case "h.pos":
                    where = [[[[cell["head"]]], [[cell["pos"]]]]]
            _, output = opened[layer](
                {"input_ids": corrupt}, [{"input_ids": clean}], {"sources->base": (where, where)})
            values.append(difference(output.logits[0], pair).item())
        return values

    return sweep


if __name__ == "__main__":
    serve("pyvene", ["pyvene"], build)
