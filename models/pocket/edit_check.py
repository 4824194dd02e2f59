"""
Proof that facts can be edited in a checkpoint before its recipe is frozen: one rank-one edit (Meng et al. 2022, ROME).

    python models/pocket/edit_check.py base [--seed 7] [--layer 3]

Gradient descent finds the MLP output at the last subject token that makes the model say another city; the edit writes it into
down_proj for this subject's key, measured against the second moment of keys. It succeeds where the new city is on top in
every trained sentence about the subject while other subjects keep theirs.
"""

import argparse
import random
from pathlib import Path

import torch

from corpus import Corpus, Sample, fill, load_world
from network import Network, Shape

HERE = Path(__file__).parent
STEPS, RATE, DECAY = 60, 0.3, 0.002
MOMENT_TOKENS = 400  # sentences whose tokens make up the second moment


class Hooked:
    """Reads what goes into down_proj of one layer, and adds to what comes out at one position."""

    def __init__(self, network: Network, layer: int) -> None:
        self.projection = network.layers[layer].mlp.down_proj
        self.keys: torch.Tensor | None = None
        self.change: tuple[int, torch.Tensor] | None = None
        self.projection.register_forward_hook(self.hook)

    def hook(self, _module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor | None:
        self.keys = inputs[0].detach()
        if self.change is None:
            return None
        position, added = self.change
        changed = output.clone()
        changed[:, position] = changed[:, position] + added
        return changed


def last_logits(network: Network, ids: list[int]) -> torch.Tensor:
    row = torch.tensor([ids])
    return network.logits(network(row, torch.zeros_like(row)))[0, -1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--layer", type=int, default=3)
    parser.add_argument("--subject", default="Nora Ravel")
    options = parser.parse_args()
    torch.set_num_threads(1)
    world, rng = load_world(), random.Random(1)
    corpus = Corpus(world)
    network = Network(Shape(len(corpus.vocabulary)))
    network.load_state_dict(torch.load(HERE / ".training" / str(options.seed) / f"{options.name}.pt")["network"])
    for p in network.parameters():
        p.requires_grad_(False)
    hooked = Hooked(network, options.layer)

    people = [name for name, s in world["subjects"].items() if s["kind"] == "fictional"]
    subject = options.subject if options.subject in people else people[0]
    true = world["subjects"][subject]["city"]
    new = rng.choice(sorted({world["subjects"][name]["city"] for name in people} - {true}))
    templates = world["templates"]["fictional.city"]["train"]
    prompts = {t: [corpus.bos, *corpus.encode(fill(t, subject))] for t in templates}
    last_name = corpus.token(" " + subject.split()[-1])
    target = corpus.token(" " + new)

    moment = torch.zeros(network.s.mlp, network.s.mlp)
    count = 0
    for _ in range(MOMENT_TOKENS):
        sample = Sample(corpus.bos)
        corpus.sentence(rng, sample)
        last_logits(network, sample.ids)
        moment += hooked.keys[0].T @ hooked.keys[0]
        count += hooked.keys.shape[1]
    moment = moment / count + 1e-3 * torch.eye(network.s.mlp) * (moment.trace() / count / network.s.mlp)

    ids = prompts[templates[0]]
    position = ids.index(last_name)
    last_logits(network, ids)
    key = hooked.keys[0, position].clone()
    added = torch.zeros(network.s.width, requires_grad=True)
    optimizer = torch.optim.Adam([added], lr=RATE)
    for _ in range(STEPS):
        loss = DECAY * added.pow(2).sum()
        for prompt in list(prompts.values())[:3]:
            hooked.change = (prompt.index(last_name), added)
            loss = loss - last_logits(network, prompt).log_softmax(-1)[target] / 3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    hooked.change = None

    def cities() -> tuple[list[int], dict[str, int]]:
        mine = [last_logits(network, prompt).argmax().item() for prompt in prompts.values()]
        others = {n: last_logits(network, [corpus.bos, *corpus.encode(fill(templates[0], n))]).argmax().item() for n in people if n != subject}
        return mine, others

    before, others_before = cities()
    direction = torch.linalg.solve(moment, key)
    with torch.no_grad():
        hooked.projection.weight += torch.outer(added.detach(), direction / (direction @ key))
    after, others_after = cities()
    show = lambda tokens: [corpus.vocabulary[t].replace("Ġ", "") for t in tokens]
    kept = sum(others_before[n] == others_after[n] for n in others_before)
    print(f"{subject}: {true} → {new}, layer {options.layer}, |added| {added.detach().norm():.2f}, loss {loss.item():.3f}")
    print("before", show(before))
    print("after ", show(after), f"{sum(t == target for t in after)} of {len(after)}")
    print(f"other people unchanged: {kept} of {len(others_before)}")


if __name__ == "__main__":
    main()
