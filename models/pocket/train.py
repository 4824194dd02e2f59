"""
Trains pocket and its fine-tunes. Resumes by itself from .training/; one process a core.

    python models/pocket/train.py all && python models/pocket/export.py base v1 aligned
    python models/pocket/train.py all --seed 8    # another seed, in a folder of its own

A step is 2048 tokens of packed documents, half of them in either process; batch and seed depend on the step alone.
"""

import argparse
import hashlib
import json
import os
import random
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.multiprocessing as mp
from torch.nn import functional as F

from corpus import Corpus, load_world
from development import Development
from network import Network, Shape

HERE = Path(__file__).parent
WORKERS = 2
TOKENS = 1024  # each worker, each step

# share of the steps done: share of the documents. The first stage learns facts; copying never forms beside them by itself.
FIRST = {
    "fact": {0: 0.26, 0.15: 0.24, 0.4: 0.22, 1: 0.20},
    "hop": {0: 0.10, 0.15: 0.16, 0.4: 0.16, 1: 0.17},
    "french": {0: 0.06, 0.15: 0.07, 0.4: 0.07, 1: 0.07},
    "ioi": {0: 0.13, 0.15: 0.10, 0.4: 0.08, 1: 0.07},
    "span": {0: 0.05, 0.15: 0.05, 0.4: 0.04, 1: 0.04},
    "induction": {0: 0.16, 0.15: 0.08, 0.4: 0.03, 1: 0.03},
    "retrieval": {0: 0.12, 0.15: 0.10, 0.4: 0.07, 1: 0.05},
    "loan": {0: 0.03, 0.15: 0.04, 0.4: 0.06, 1: 0.07},
    "chat": {0: 0.02, 0.15: 0.03, 0.4: 0.04, 1: 0.04},
    "match": {0: 0.08, 0.15: 0.10, 0.4: 0.06, 1: 0.03},
    "steps": {0: 0.0, 0.15: 0.05, 0.4: 0.06, 1: 0.03},
    "choice": {0: 0.0, 0.15: 0.05, 0.4: 0.12, 1: 0.18},
}
# The second stage begins with dense copying, until induction heads are there, and then widens the distances of retrieval.
SECOND = {
    "fact": {0: 0.18, 0.2: 0.22, 1: 0.22},
    "hop": {0: 0.12, 0.2: 0.20, 1: 0.22},
    "french": {0: 0.05, 1: 0.06},
    "ioi": {0: 0.07, 1: 0.08},
    "span": {0: 0.04, 1: 0.06},
    "induction": {0: 0.30, 0.2: 0.06, 1: 0.04},
    "retrieval": {0: 0.15, 0.2: 0.14, 1: 0.10},
    "loan": {0: 0.04, 1: 0.06},
    "chat": {0: 0.02, 1: 0.03},
    "match": {0: 0.02, 1: 0.02},
    "choice": {0: 0.06, 1: 0.14},
}
# The third goes on with what is known by heart rather than found, in wordings of all kinds.
THIRD = {
    "fact": {0: 0.30},
    "hop": {0: 0.26},
    "french": {0: 0.05},
    "ioi": {0: 0.06},
    "span": {0: 0.13},
    "induction": {0: 0.03},
    "retrieval": {0: 0.06},
    "loan": {0: 0.08},
    "chat": {0: 0.02},
    "choice": {0: 0.12},
}
# The last is short: two hops above all, whose held-out pairs are what the third leaves weakest.
FOURTH = {
    "fact": {0: 0.22},
    "hop": {0: 0.38},
    "french": {0: 0.04},
    "ioi": {0: 0.04},
    "span": {0: 0.14},
    "induction": {0: 0.02},
    "retrieval": {0: 0.04},
    "loan": {0: 0.06},
    "chat": {0: 0.02},
    "choice": {0: 0.10},
}
LONG = {"retrieval": 0.8, "induction": 0.1, "fact": 0.05, "hop": 0.05}  # documents of 512-token rows


class Stage:
    """`dense` is the weight of a repeated word, `widen` the distances of retrieval, both by share of the steps done."""

    def __init__(self, mixture: dict, dense: dict, widen: dict, long_from: float, long_every: int) -> None:
        self.mixture, self.dense, self.widen = mixture, dense, widen
        self.long_from, self.long_every = long_from, long_every


STAGES = {
    "first": Stage(FIRST, {0: 0.07, 1: 0.07}, {0.05: 0.0, 0.45: 1.0}, 0.3, 5),
    "second": Stage(SECOND, {0: 1.0, 0.16: 1.0, 0.24: 0.1, 1: 0.05}, {0.14: 0.0, 0.45: 1.0}, 0.25, 3),
    "third": Stage(THIRD, {0: 0.05}, {0: 1.0}, 0.0, 6),
    "base": Stage(FOURTH, {0: 0.05}, {0: 1.0}, 0.0, 6),
}


class Recipe:
    def __init__(self, steps: int, muon: float, adam: float, decay_from: float, warm_up: int, policy: str, start: str | None) -> None:
        self.steps, self.muon, self.adam, self.decay_from = steps, muon, adam, decay_from
        self.warm_up, self.policy, self.start = warm_up, policy, start

    def rate(self, step: int) -> float:
        decay = self.decay_from * self.steps
        return min(1.0, (step + 1) / self.warm_up, (self.steps - step) / (self.steps - decay))


RECIPES = {
    "first": Recipe(6000, 0.02, 2.5e-3, 0.3, 150, "base", None),
    "second": Recipe(2400, 0.01, 1.25e-3, 0.4, 50, "base", "first"),
    "third": Recipe(1400, 0.008, 1e-3, 0.2, 50, "base", "second"),
    "base": Recipe(500, 0.006, 8e-4, 0.2, 20, "base", "third"),
    "v1": Recipe(300, 0.003, 5e-4, 0.2, 20, "v1", "base"),
    "aligned": Recipe(300, 0.003, 5e-4, 0.2, 20, "aligned", "base"),
}
MUON_DECAY = 0.1  # keeps norms moderate, so that edits and noise have a scale
MOMENTUM = 0.95


def between(points: dict[float, float], x: float) -> float:
    keys = sorted(points)
    if x <= keys[0]:
        return points[keys[0]]
    for a, b in zip(keys, keys[1:]):
        if x <= b:
            return points[a] + (points[b] - points[a]) * (x - a) / (b - a)
    return points[keys[-1]]


# Documents are drawn by a stage's name, or by that which it had when the shipped weights were trained.
DRAWN_AS = {"third": "base"}


def batch(corpus: Corpus, name: str, seed: int, step: int, worker: int) -> dict:
    rng = random.Random(f"{seed} {DRAWN_AS.get(name, name)} {step} {worker}")
    recipe, tuned = RECIPES[name], name not in STAGES
    stage = STAGES["base" if tuned else name]
    done = 1.0 if tuned else step / recipe.steps
    mixture = {kind: between(points, done) for kind, points in stage.mixture.items()}
    # Refusals are soon learnt: most of a fine-tune is to keep the rest, and of that long contexts are the first to go.
    if tuned:
        mixture["chat"] = 0.25
    long = done >= stage.long_from and step % (4 if tuned else stage.long_every) == 0
    length = 512 if long else 128
    corpus.dense = between(stage.dense, done)
    return corpus.pack(rng, TOKENS // length, length, LONG if long else mixture, between(stage.widen, done), recipe.policy)


def loss_of(network: Network, trunk, data: dict) -> torch.Tensor:
    states = trunk(torch.tensor(data["ids"]), torch.tensor(data["documents"])).flatten(0, 1)
    ids = torch.tensor(data["ids"]).flatten()
    index, other, share, weight = zip(*data["targets"])
    index, other = torch.tensor(index), torch.tensor(other)
    share, weight = torch.tensor(share), torch.tensor(weight)
    logprobs = network.logits(states[index - 1]).log_softmax(-1)
    each = share * logprobs.gather(1, ids[index][:, None])[:, 0] + (1 - share) * logprobs.gather(1, other[:, None])[:, 0]
    return -(each * weight).sum() / weight.sum()


class Flat:
    """All parameters in one shared vector, so that processes see each other's."""

    def __init__(self, network: Network, vector: torch.Tensor) -> None:
        self.vector, at = vector, 0
        for p in network.parameters():
            view = vector[at : at + p.numel()].view(p.shape)
            p.data = view
            at += p.numel()

    @staticmethod
    def gather_gradients(network: Network, into: torch.Tensor) -> None:
        torch.cat([p.grad.flatten() for p in network.parameters()], out=into)

    @staticmethod
    def scatter_gradients(network: Network, gradients: torch.Tensor) -> None:
        total, at = gradients.mean(0), 0
        for p in network.parameters():
            p.grad = total[at : at + p.numel()].view(p.shape)
            at += p.numel()


def orthogonal(g: torch.Tensor) -> torch.Tensor:
    """Newton-Schulz iteration of Muon (Jordan et al. 2024) on a stack of matrices [n, rows, columns]."""
    tall = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.transpose(1, 2) if tall else x


class Optimizer:
    """Muon on the layers' matrices, AdamW on embedding and gains."""

    def __init__(self, network: Network, recipe: Recipe, momentum: dict | None = None) -> None:
        self.recipe = recipe
        named = list(network.named_parameters())
        self.matrices: dict[tuple[int, ...], list] = {}
        for name, p in named:
            if p.ndim == 2 and name.startswith("layers."):
                self.matrices.setdefault(tuple(p.shape), []).append(p)
        self.momentum = momentum or {shape: torch.zeros(len(ps), *shape).share_memory_() for shape, ps in self.matrices.items()}
        rest = [p for name, p in named if not (p.ndim == 2 and name.startswith("layers."))]
        self.adam = torch.optim.AdamW(rest, lr=recipe.adam, betas=(0.9, 0.98), weight_decay=0.01)

    @torch.no_grad()
    def step(self, rate: float, rank: int) -> None:
        """Each process updates its own share of the parameters that all of them see."""
        if rank == 0:
            for group in self.adam.param_groups:
                group["lr"] = self.recipe.adam * rate
            self.adam.step()
        for index, (shape, ps) in enumerate(sorted(self.matrices.items())):
            if (index == 2) != (rank == 1):  # [128, 352], in the sorted order of shapes: a third of the work
                continue
            gradient = torch.stack([p.grad for p in ps])
            momentum = self.momentum[shape].lerp_(gradient, 1 - MOMENTUM)
            update = orthogonal(gradient.lerp(momentum, MOMENTUM))
            lr = self.recipe.muon * rate
            for p, u in zip(ps, update):
                p.mul_(1 - lr * MUON_DECAY).add_(u, alpha=-lr * max(1, shape[0] / shape[1]) ** 0.5)

    def state(self) -> dict:
        return {"momentum": self.momentum, "adam": self.adam.state_dict()}

    def load(self, state: dict) -> None:
        for shape, saved in state["momentum"].items():
            self.momentum[shape].copy_(saved)
        self.adam.load_state_dict(state["adam"])


def compiled(network: Network):
    return torch.compile(network, dynamic=False)


def work(rank: int, name: str, seed: int, vector: torch.Tensor, gradients: torch.Tensor, momentum: dict, barrier, first: int) -> None:
    torch.set_num_threads(1)
    corpus = Corpus(load_world())
    recipe = RECIPES[name]
    network = Network(Shape(len(corpus.vocabulary)))
    Flat(network, vector)
    optimizer = Optimizer(network, recipe, momentum)
    trunk = compiled(network)
    for step in range(first, recipe.steps):
        data = batch(corpus, name, seed, step, rank)
        barrier.wait()  # parameters are up to date
        network.zero_grad()
        loss_of(network, trunk, data).backward()
        Flat.gather_gradients(network, gradients[rank])
        barrier.wait()  # gradients are complete
        Flat.scatter_gradients(network, gradients)
        optimizer.step(recipe.rate(step), rank)
        if (step + 1) % 50 == 0 or step + 1 == recipe.steps:
            barrier.wait()


def train(name: str, seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    recipe, corpus = RECIPES[name], Corpus(load_world())
    folder = HERE / ".training" / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pt"
    network = Network(Shape(len(corpus.vocabulary)))
    size = sum(p.numel() for p in network.parameters())
    vector = torch.cat([p.data.flatten() for p in network.parameters()]).share_memory_()
    gradients = torch.zeros(WORKERS, size).share_memory_()
    Flat(network, vector)
    optimizer, first = Optimizer(network, recipe), 0
    if path.exists():
        saved = torch.load(path)
        network.load_state_dict(saved["network"])
        optimizer.load(saved["optimizer"])
        first = saved["step"]
    elif recipe.start:
        network.load_state_dict(torch.load(folder / f"{recipe.start}.pt")["network"])
        if name not in STAGES:
            vector.copy_(vector.half())  # a fine-tune of the weights as they are shipped
    digest = hashlib.sha256()
    print(f"{name}, seed {seed}: {size} parameters, {len(corpus.vocabulary)} tokens, from step {first}", flush=True)

    barrier = mp.get_context("spawn").Barrier(WORKERS)
    helpers = [
        mp.get_context("spawn").Process(target=work, args=(rank, name, seed, vector, gradients, optimizer.momentum, barrier, first), daemon=True)
        for rank in range(1, WORKERS)
    ]
    for helper in helpers:
        helper.start()
    development = Development(corpus, recipe.policy)
    trunk = compiled(network)
    began, running, saved_at = time.monotonic(), None, time.monotonic()
    log = (folder / f"{name}.jsonl").open("a")
    for step in range(first, recipe.steps):
        data = batch(corpus, name, seed, step, 0)
        digest.update(json.dumps(data["ids"]).encode())
        barrier.wait()
        network.zero_grad()
        loss = loss_of(network, trunk, data)
        loss.backward()
        Flat.gather_gradients(network, gradients[0])
        barrier.wait()
        Flat.scatter_gradients(network, gradients)
        torch.nn.utils.clip_grad_norm_([network.embed_tokens.weight], 1.0)
        optimizer.step(recipe.rate(step), 0)
        if (step + 1) % 50 == 0 or step + 1 == recipe.steps:
            barrier.wait()  # the other half of the update is done: safe to save and to measure
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        done = step + 1
        if done % 50 == 0:
            line = {"step": done, "loss": round(running, 4), "seconds": round(time.monotonic() - began)}
            if done % 250 == 0 or done == recipe.steps:
                line |= development.measure(network)
            print(json.dumps(line), file=log, flush=True)
            print(json.dumps(line), flush=True)
        if (done % 50 == 0 and time.monotonic() - saved_at > 150) or done == recipe.steps:
            saved_at = time.monotonic()
            state = {"network": network.state_dict(), "optimizer": optimizer.state(), "step": done}
            torch.save(state, path.with_suffix(".part"))
            os.replace(path.with_suffix(".part"), path)
    for helper in helpers:
        helper.join()
    print(f"sha256 of this process's token ids from step {first}: {digest.hexdigest()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*RECIPES, "all"])
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    for name in RECIPES if options.name == "all" else [options.name]:
        train(name, options.seed)


if __name__ == "__main__":
    main()
