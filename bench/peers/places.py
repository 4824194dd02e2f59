"""Where transformers' Llama and GPT-2 keep the sites, and patching them with PyTorch hooks."""

import torch

from protocol import named


class Places:
    """The modules whose input is a site."""

    def __init__(self, model):
        config = model.config
        self.gpt2 = config.model_type == "gpt2"
        self.layers = model.transformer.h if self.gpt2 else model.model.layers
        self.heads = config.num_attention_heads
        self.width = config.hidden_size // config.num_attention_heads

    def reader(self, site: str, layer: int):
        """The module that the site's value goes into."""
        block = self.layers[layer]
        match site:
            case "resid_pre":
                return block
            case "z":
                return block.attn.c_proj if self.gpt2 else block.self_attn.o_proj
            case "mlp_post":
                return block.mlp.c_proj if self.gpt2 else block.mlp.down_proj
        raise NotImplementedError(f"no module of transformers takes {site} as its input")

    def index(self, site: str, cell: dict):
        """Index of a cell into the site's value [pos, width]."""
        pos = cell.get("pos", slice(None))
        if site == "z":
            return pos, slice(cell["head"] * self.width, (cell["head"] + 1) * self.width)
        if site == "mlp_post":
            return pos, cell.get("neuron", slice(None))
        return pos, slice(None)


def input_of(args, kwargs):
    return args[0] if args else kwargs["hidden_states"]


def replace_input(args, kwargs, value):
    return ((value, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": value})


def capture(model, places: Places, job: dict, ids: list[int]) -> dict:
    """Values [pos, width] of the site at every layer that a cell names, from one run."""
    kept, handles = {}, []
    for layer in {cell["layer"] for cell in named(job)}:
        def keep(_, args, kwargs, layer=layer):
            kept[layer] = input_of(args, kwargs)[0].clone()

        handles.append(places.reader(job["site"], layer).register_forward_pre_hook(keep, with_kwargs=True))
    model(torch.tensor([ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    return kept
