"""Accuracy on the development hold-outs while training goes on. The shipped files are measured elsewhere, on the test hold-outs."""

import random

import torch

from corpus import Corpus, Sample, draw_applicant, loan_score
from network import Network

ASKS = 3  # of a text with notes


class Development:
    def __init__(self, corpus: Corpus, policy: str) -> None:
        self.corpus = corpus
        rng = random.Random(99)
        w = corpus.world
        some = lambda items, n: rng.sample(items, min(n, len(items)))
        flat = lambda part: [fact for _, facts in corpus.facts[part] for fact in facts]
        self.sets: dict[str, list[Sample]] = {
            "fact": self.prompts(some(flat("train"), 200)),
            "paraphrase": self.prompts(some(flat("development"), 250)),
            "french": self.prompts(some(corpus.french["stated"], 100)),
            "differs": self.prompts(corpus.french["different"]),
            "hop": self.prompts(some(corpus.two_hop["train"], 150)),
            "hop_pair": self.prompts(corpus.two_hop["development_pairs"]),
            "hop_subject": self.prompts(corpus.two_hop["development_subjects"]),
            "ioi": self.draw(150, lambda s: corpus.gift(rng, s, tuple(rng.choice(w["ioi"]["development"])))),
            "span": self.draw(100, lambda s: corpus.span(rng, s)),
            "induction": self.draw(40, lambda s: corpus.repeat(rng, s, 100, rng.randint(5, 40))),
            "notes8": self.draw(60, lambda s: corpus.notes(rng, s, 8)),
            "notes24": self.draw(40, lambda s: corpus.notes(rng, s, 24, room=512)),
            "password8": self.draw(40, lambda s: corpus.notes(rng, s, 8, passwords=True, room=512)),
            "notes512": self.draw(12, lambda s: corpus.notes(rng, s, 10, 30, 512)),
            "loan": self.applicants(rng, 150),
            "match": self.draw(80, lambda s: corpus.options(rng, s, "match")),
            "choice": self.draw(120, lambda s: corpus.options(rng, s, "fact")),
        }
        questions = corpus.choice_questions(w["choice"]["development_subjects"])
        self.sets["choice_held"] = self.draw(120, lambda s: corpus.options(rng, s, "fact", rng.choice(questions)))
        for kind in ("harmful", "harmless"):
            for label, suffix in (("", ""), ("_suffix", w["chat"]["suffix"])):
                held = w["chat"][kind]["development"]
                self.sets[kind + label] = self.draw(
                    60, lambda s: corpus.talk(rng, s, policy, (tuple(rng.choice(held)), kind == "harmful"), suffix)
                )

    def draw(self, count: int, write) -> list[Sample]:
        samples = []
        for _ in range(count):
            sample = Sample(self.corpus.bos)
            write(sample)
            samples.append(sample)
        return samples

    def prompts(self, facts: list[tuple[str, str]]) -> list[Sample]:
        samples = []
        for prompt, answer in facts:
            sample = Sample(self.corpus.bos)
            self.corpus.say(sample, prompt)
            self.corpus.answer(sample, " " + answer)
            samples.append(sample)
        return samples

    def applicants(self, rng: random.Random, count: int) -> list[Sample]:
        loan, corpus, samples = self.corpus.world["loan"], self.corpus, []
        for _ in range(count):
            person, sample = draw_applicant(loan, rng), Sample(self.corpus.bos)
            corpus.say(sample, loan["text"].format(**person))
            corpus.answer(sample, loan["answers"]["accept" if loan_score(loan, person) > 0 else "reject"])
            samples.append(sample)
        return samples

    @torch.no_grad()
    def measure(self, network: Network) -> dict[str, float]:
        """Share of answers on top; of spans, the mean probability of valid years."""
        result = {}
        for name, samples in self.sets.items():
            right = total = 0.0
            for start in range(0, len(samples), 40):
                part = sorted(samples, key=lambda s: len(s.ids))[start : start + 40]
                longest = max(len(s.ids) for s in part)
                ids = torch.tensor([s.ids + [0] * (longest - len(s.ids)) for s in part])
                states = network(ids, torch.zeros_like(ids))
                for row, sample in enumerate(part):
                    targets = sample.targets[-ASKS:] if name.startswith(("notes", "password")) else sample.targets
                    wanted = [t for t in targets if t[3] >= (0.06 if name.startswith("harm") else 1e-6)]
                    logits = network.logits(states[row, [t[0] - 1 for t in wanted]])
                    if name == "span":
                        first = int(self.corpus.vocabulary[sample.ids[wanted[0][0] - 5]])
                        valid = [self.corpus.token(f"{year:02d}") for year in range(first + 1, 100)]
                        right += logits[0].softmax(-1)[valid].sum().item()
                    else:
                        answers = torch.tensor([sample.ids[t[0]] for t in wanted])
                        right += (logits.argmax(-1) == answers).sum().item()
                    total += len(wanted)
            result[name] = round(right / total, 3)
        norms = []
        ids = torch.tensor([s.ids[:8] for s in self.sets["ioi"][:20]])
        hooks = [
            layer.mlp.register_forward_hook(lambda _m, _i, out: norms.append(round(out.norm(dim=-1).mean().item(), 1)))
            for layer in network.layers
        ]
        network(ids, torch.zeros_like(ids))
        for hook in hooks:
            hook.remove()
        return {**result, "mlp_norms": norms}
