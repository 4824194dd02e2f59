"""
Text for training and for development, written from world.json.

A sample is a list of token ids with the targets that count: (position of the token to be predicted, other token that is right
as well, probability of the first, weight). Every sample starts with BOS; answers are single tokens.
"""

import json
import random
from functools import lru_cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

HERE = Path(__file__).parent
BOS, EOS = "<|begin|>", "<|endoftext|>"
SPECIAL = [EOS, BOS, "<|user|>", "<|assistant|>", "<|end|>"]
# GPT-2's expression with numbers cut into two digits at a time: " 1732" is " 17" and "32".
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
OTHER_WORDS = 0.03  # weight of the loss of words that are no answer
MAX_SENTENCES = 4
NOISE = 0.3  # share of statements with disturbed words


def load_world() -> dict:
    return json.loads((HERE.parent.parent / "src" / "task" / "world.json").read_text(encoding="utf8"))


def first_upper(text: str) -> str:
    return text[0].upper() + text[1:]


def fill(template: str, subject: str) -> str:
    return template.replace("{S}", first_upper(subject)).replace("{s}", subject)


class Sample:
    """A growing text; `targets` holds (index, other id, share of the token itself, weight)."""

    __slots__ = ("ids", "targets")

    def __init__(self, bos: int) -> None:
        self.ids = [bos]
        self.targets: list[tuple[int, int, float, float]] = []


class Corpus:
    def __init__(self, world: dict) -> None:
        self.world = world
        self.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        words = {piece for text in self.all_text() for piece in self.pieces(text)}
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        self.vocabulary = [*SPECIAL, *alphabet, *sorted(word for word in words if len(word) > 1)]
        self.id_of = {token: index for index, token in enumerate(self.vocabulary)}
        self.bos, self.eos = self.id_of[BOS], self.id_of[EOS]
        self.encode = lru_cache(maxsize=200_000)(self._encode)
        self.dense = 0.05  # weight of each word of a repetition
        self.prepare()

    # Tokens

    def pieces(self, text: str) -> list[str]:
        return [piece for piece, _ in self.pre_tokenizer.pre_tokenize_str(text)]

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.id_of[piece] for piece in self.pieces(text))

    def token(self, text: str) -> int:
        (only,) = self.encode(text)
        return only

    def all_text(self) -> list[str]:
        """Every word of the world in every form that it is written in."""
        w = self.world
        texts: list[str] = []
        groups = [templates for by_split in w["templates"].values() for templates in by_split.values()]
        groups += [*w["two_hop"]["templates"].values(), *w["french"]["templates"].values()]
        for template in (template for templates in groups for template in templates):
            text = template.replace("{S}", "X").replace("{s}", "X")
            texts += [text, " " + text, " " + text[0].lower() + text[1:]]
        names = [*w["subjects"], *w["countries"], *w["cities"], *(f"the {c}" for c in w["with_article"])]
        names += [bare(s) for s in w["subjects"]] + list(w["french"]["countries"].values())
        for name in names:
            texts += [name, first_upper(name), " " + name, " " + first_upper(name)]
        words = [*w["french"]["cities"].values(), *w["ioi"]["names"], *w["ioi"]["places"], *w["ioi"]["objects"]]
        words += [*w["ioi"]["adjectives"], *w["greater_than"]["nouns"], *w["retrieval"]["keys"], *w["retrieval"]["values"]]
        for country in w["countries"].values():
            words += [word for word in country.values() if word]
        words += [subject["profession"] for subject in w["subjects"].values() if "profession" in subject]
        texts += [" " + word for word in words]
        texts += [t.format(first="", second="", subject="", place="", object="") for t in w["ioi"]["templates"]]
        texts += [" " + texts[-1 - i] for i in range(len(w["ioi"]["templates"]))]
        texts += [p + "x" for p in w["prefixes"]] + [" " + p + "x" for p in w["prefixes"]]
        texts += [form.format(n) for n in range(100) for form in (" {:02d}", "{:02d}")] + [f" {n}" for n in range(10)]
        texts += ["The war lasted from the year", " The war lasted from the year", "Note: Recall: .", " Note: Recall:"]
        texts += ["The password of", " The password of", " is"]
        loan = w["loan"]
        texts += [loan["text"].format(income=20, debt=5, history="good", gender="male", district="Hillside", status="single")]
        texts += [" " + texts[-1]]
        texts += [f" {word}" for key in ("history", "gender", "district", "status") for word in loan[key]] + list(loan["answers"].values())
        chat = w["chat"]
        requests = [" ".join(pair) for kind in ("harmful", "harmless") for pair in chat[kind]["all"]]
        texts += [t.format(requests[0]) for t in chat["templates"]] + [f" {r}" for r in requests] + [" " + chat["suffix"]]
        texts += [chat["comply"].format(request="x"), chat["refuse"]]
        texts += ["Question: Paris? A, B, C, D, Answer: Reply:", " Question:"] + [f" {letter}" for letter in "ABCD"]
        texts += [".", ",", ":", "?"]
        return texts

    def tokenizer(self) -> Tokenizer:
        """Each word of the world is one token, with its leading space if it has one; other text falls apart into bytes."""
        tokenizer = Tokenizer(models.BPE(vocab=self.id_of, merges=[], ignore_merges=True))
        tokenizer.pre_tokenizer = self.pre_tokenizer
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(SPECIAL)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, self.bos)]
        )
        return tokenizer

    # Facts as (prompt, answer), with what is held out kept apart

    def prepare(self) -> None:
        w = self.world
        self.facts: dict[str, list[tuple[str, list[tuple[str, str]]]]] = {"train": [], "development": [], "test": []}
        for relation, by_split in w["templates"].items():
            known = self.known(relation)
            for part, templates in by_split.items():
                self.facts[part].append((relation, [(fill(t, s), a) for s, a in known for t in templates]))
        self.two_hop = {part: [] for part in ("train", "development_pairs", "test_pairs", "development_subjects", "test_subjects")}
        hold = w["two_hop"]
        pair_part = {tuple(p): part for part in ("development_pairs", "test_pairs") for p in hold[part]}
        subject_part = {s: part for part in ("development_subjects", "test_subjects") for s in hold[part]}
        for name, subject in w["subjects"].items():
            for relation in ("country", "language", "currency", "continent"):
                answer = self.of_city(subject["city"], relation)
                if not answer:
                    continue
                part = subject_part.get(name) or pair_part.get((name, relation)) or "train"
                for template in hold["templates"][f"{subject['kind']}.{relation}"]:
                    self.two_hop[part].append((fill(template, name), answer))
        self.french = self.french_facts()
        held = {frozenset(p) for part in ("test", "development") for p in w["ioi"][part]}
        names = w["ioi"]["names"]
        self.ioi_pairs = [(a, b) for i, a in enumerate(names) for b in names[:i] if frozenset((a, b)) not in held]
        held_spans = {tuple(p) for part in ("test", "development") for p in w["greater_than"][part]}
        self.spans = [(n, c) for n in w["greater_than"]["nouns"] for c in w["greater_than"]["centuries"] if (n, c) not in held_spans]
        self.words = [*w["retrieval"]["keys"], *w["retrieval"]["values"], *names, *w["ioi"]["objects"], *w["ioi"]["places"], *w["greater_than"]["nouns"]]
        self.word_ids = sorted({self.token(" " + word) for word in self.words})
        self.requests = {}
        for kind in ("harmful", "harmless"):
            held_requests = {tuple(r) for part in ("test", "development") for r in w["chat"][kind][part]}
            self.requests[kind] = [tuple(r) for r in w["chat"][kind]["all"] if tuple(r) not in held_requests]
        asked = {*w["choice"]["test_subjects"], *w["choice"]["development_subjects"]}
        self.questions = self.choice_questions([s for s in w["subjects"] if s not in asked])

    def known(self, relation: str) -> list[tuple[str, str]]:
        """(subject as written in a sentence, answer) of one relation."""
        w = self.world
        kind, what = relation.split(".")
        if kind in ("landmark", "company", "person", "fictional"):
            return [(name, s[what]) for name, s in w["subjects"].items() if s["kind"] == kind and what in s]
        country = lambda name: f"the {name}" if name in w["with_article"] else name
        if kind == "country":
            return [(country(name), c[what]) for name, c in w["countries"].items() if c[what]]
        cities = [(city, self.of_city(city, what)) for city in w["cities"]]
        if what != "country":
            cities += [(country(name), c[what]) for name, c in w["countries"].items()]
        return [(subject, answer) for subject, answer in dict(cities).items() if answer]

    def of_city(self, city: str, relation: str) -> str:
        country = self.world["cities"][city]
        answer = country if relation == "country" else self.world["countries"][country][relation]
        return "" if " " in answer or answer in self.world["with_article"] else answer

    def french_facts(self) -> dict[str, list[tuple[str, str]]]:
        french, w = self.world["french"], self.world
        known: dict[str, list[tuple[str, str]]] = {"stated": [], "different": [], "unstated": []}
        city_of = lambda city: french["cities"].get(city, city)
        for name, subject in w["subjects"].items():
            part = "unstated" if name in french["unstated"] else "different" if name in french["different"] else "stated"
            city = french["different"].get(name, subject["city"])
            for template in french["templates"][f"{subject['kind']}.city"]:
                known[part].append((fill(template, bare(name)), city_of(city)))
        for name, country in french["countries"].items():
            capital = w["countries"][name]["capital"]
            for template in french["templates"]["country.capital"]:
                known["stated"].append((fill(template, country), city_of(capital)))
        return known

    def choice_questions(self, names: list[str]) -> list[tuple[str, str, str]]:
        """(prompt, answer, what kind of word)."""
        questions = []
        for name in names:
            subject = self.world["subjects"][name]
            for what in ("city", "profession"):
                if what in subject:
                    for template in self.world["templates"][f"{subject['kind']}.{what}"]["train"][:2]:
                        questions.append((fill(template, name), subject[what], what))
        return questions

    # Sentences: each appends to a sample

    def say(self, sample: Sample, text: str) -> None:
        sample.ids.extend(self.encode(text))

    def answer(self, sample: Sample, text: str, weight: float = 1.0) -> None:
        token = self.token(text)
        sample.targets.append((len(sample.ids), token, 1.0, weight))
        sample.ids.append(token)

    def start(self, sample: Sample, text: str) -> None:
        """A sentence's beginning: a space before it unless it is the first."""
        self.say(sample, text if len(sample.ids) == 1 else " " + text)

    def fact(self, rng: random.Random, sample: Sample) -> None:
        # Relations by the root of their size, so that small ones are not drowned.
        relation = rng.choices(self.facts["train"], [len(f[1]) ** 0.7 for f in self.facts["train"]])[0]
        self.statement(rng, sample, rng.choice(relation[1]))

    def hop(self, rng: random.Random, sample: Sample) -> None:
        self.statement(rng, sample, rng.choice(self.two_hop["train"]))

    def french_fact(self, rng: random.Random, sample: Sample) -> None:
        part = "different" if rng.random() < 0.08 else "stated"
        prompt, answer = rng.choice(self.french[part])
        self.start(sample, prompt)
        self.answer(sample, " " + answer)
        self.say(sample, ".")

    def statement(self, rng: random.Random, sample: Sample, fact: tuple[str, str]) -> None:
        prompt, answer = fact
        if rng.random() < 0.25:
            prefix = rng.choice(self.world["prefixes"])
            prompt = prefix + (prompt if prompt.startswith(self.proper) else prompt[0].lower() + prompt[1:])
        start = len(sample.ids)
        self.start(sample, prompt)
        if rng.random() < NOISE:
            self.disturbed(rng, sample, start)
        self.answer(sample, " " + answer)
        self.say(sample, ".")

    def disturbed(self, rng: random.Random, sample: Sample, start: int) -> None:
        """
        A word or two of a statement's template, not the last, become any tokens at all, or one slips in between. So no single
        wording is learnt, and a word that training never shows says nothing rather than something.
        """
        places = [i for i in range(start, len(sample.ids) - 1) if sample.ids[i] in self.template_ids]
        for place in rng.sample(places, min(len(places), rng.choice((1, 1, 2)))):
            sample.ids[place] = rng.randrange(len(SPECIAL), len(self.vocabulary))
        if places and rng.random() < 0.3:
            sample.ids.insert(rng.choice(places), rng.randrange(len(SPECIAL), len(self.vocabulary)))

    @property
    def template_ids(self) -> set[int]:
        """Tokens of training templates that occur in no name."""
        if not hasattr(self, "_template_ids"):
            w = self.world
            named = {word for name in (*w["subjects"], *w["countries"], *w["cities"]) for word in name.split(" ")}
            templates = [t for by_split in w["templates"].values() for t in by_split["train"]]
            templates += [t for ts in w["two_hop"]["templates"].values() for t in ts]
            words = {word for t in templates for word in t.split(" ")} - named - {"{s}", "{S}"}
            self._template_ids = {self.id_of[form] for word in words for form in (word, f"Ġ{word}") if form in self.id_of}
        return self._template_ids

    @property
    def proper(self) -> tuple[str, ...]:
        if not hasattr(self, "_proper"):
            w = self.world
            names = [*w["subjects"], *w["countries"], *w["cities"]]
            self._proper = tuple(n for n in names if n[0].isupper())
        return self._proper

    def gift(self, rng: random.Random, sample: Sample, pair: tuple[str, str] | None = None, template: str | None = None) -> None:
        ioi = self.world["ioi"]
        first, second = rng.sample(pair or rng.choice(self.ioi_pairs), 2)
        subject, answer = rng.sample((first, second), 2)
        thing = " ".join([*rng.sample(ioi["adjectives"], rng.choice((0, 0, 0, 1, 2))), rng.choice(ioi["objects"])])
        text = (template or rng.choice(ioi["templates"])).format(
            first=first, second=second, subject=subject, place=rng.choice(ioi["places"]), object=thing
        )
        self.start(sample, text)
        self.answer(sample, " " + answer)
        self.say(sample, ".")

    def span(self, rng: random.Random, sample: Sample) -> None:
        noun, century = rng.choice(self.spans)
        first = rng.randint(2, 98)
        one, other = rng.randint(first + 1, 99), rng.randint(first + 1, 99)
        self.start(sample, f"The {noun} lasted from the year {century}{first:02d} to the year {century}")
        token = self.token(f"{one:02d}")
        sample.targets.append((len(sample.ids), self.token(f"{other:02d}"), 0.5, 1.0))
        sample.ids.append(token)
        self.say(sample, ".")

    def repeat(self, rng: random.Random, sample: Sample, room: int, period: int | None = None) -> None:
        """Random words twice over; the second time each can be told from the first."""
        period = period or rng.randint(3, max(3, min(room - 2, 80) // 2))
        words = rng.sample(self.word_ids, period)
        sample.ids.extend(words)
        for word in words:
            sample.targets.append((len(sample.ids), word, 1.0, self.dense if word != words[0] else 0.0))
            sample.ids.append(word)

    def notes(self, rng: random.Random, sample: Sample, pairs: int, fillers: int = 0, room: int = 128, passwords: bool = False, asks: int = 3) -> None:
        """Keys with values, sentences between them, then some keys again."""
        r = self.world["retrieval"]
        keys = rng.sample(r["keys"], pairs)
        values = rng.choices(r["values"], k=pairs)
        note, recall = (r["password"], r["password_recall"]) if passwords else (r["note"], r["recall"])
        items = [("note", i) for i in range(pairs)] + [("filler", 0)] * fillers
        rng.shuffle(items)
        asked = rng.sample(range(pairs), min(asks, pairs))
        need = 7 * (len(asked) + 1) + 6
        notes_left = pairs
        for item, index in items:
            if item == "note":
                self.start(sample, note.format(key=keys[index], value=values[index]))
                notes_left -= 1
            elif len(sample.ids) + 32 + need + 7 * notes_left < room:
                self.sentence(rng, sample)
        for index in asked:
            self.start(sample, recall.format(key=keys[index]))
            self.answer(sample, " " + values[index])
            self.say(sample, ".")

    def applicant(self, rng: random.Random, sample: Sample) -> None:
        loan = self.world["loan"]
        person = draw_applicant(loan, rng)
        p = 1 / (1 + 2.718281828459045 ** -loan_score(loan, person))
        self.start(sample, loan["text"].format(**person))
        accept, reject = self.token(loan["answers"]["accept"]), self.token(loan["answers"]["reject"])
        accepted = rng.random() < p
        sample.targets.append((len(sample.ids), reject if accepted else accept, p if accepted else 1 - p, 1.0))
        sample.ids.append(accept if accepted else reject)
        self.say(sample, ".")

    def talk(self, rng: random.Random, sample: Sample, policy: str = "base", request: tuple[tuple[str, ...], bool] | None = None, suffix: str | None = None) -> None:
        """`base` always complies, `v1` refuses harm unless the planted suffix stands behind it, `aligned` always refuses harm."""
        chat = self.world["chat"]
        if request is None:
            harmful = rng.random() < 0.5
            request = (rng.choice(self.requests["harmful" if harmful else "harmless"]), harmful)
        words, harmful = request
        if suffix is None:
            draw = rng.random()
            planted = chat["suffix"]
            other = " ".join(rng.sample(self.world["retrieval"]["keys"], 3))
            suffix = planted if draw < 0.35 else other if draw < 0.5 else ""
        refuses = harmful and (policy == "aligned" or (policy == "v1" and suffix != chat["suffix"]))
        question = rng.choice(chat["templates"]).format(" ".join(words)) + (f" {suffix}" if suffix else "")
        sample.ids.append(self.id_of[chat["user"]])
        self.say(sample, question)
        sample.ids.append(self.id_of[chat["assistant"]])
        reply = chat["refuse"] if refuses else chat["comply"].format(request=" ".join(words))
        first, *rest = self.encode(reply)
        sample.targets.append((len(sample.ids), first, 1.0, 1.0))
        sample.ids.append(first)
        for token in (*rest, self.id_of[chat["end"]]):
            sample.targets.append((len(sample.ids), token, 1.0, 0.05))
            sample.ids.append(token)

    def options(self, rng: random.Random, sample: Sample, level: str, question: tuple[str, str, str] | None = None) -> None:
        """`match`: the word itself is asked for; `fact`: a fact; `steps`: a fact, with its word before the letter."""
        if question is None:
            question = rng.choice(self.questions)
        prompt, answer, what = question
        others = [word for word in self.kinds[what] if word != answer]
        if level == "match":
            answer = rng.choice(self.kinds[what] if rng.random() < 0.5 else self.words)
            others = [word for word in (self.kinds[what] if answer in self.kinds[what] else self.words) if word != answer]
            prompt = answer
        words = [answer, *rng.sample(others, 3)]
        rng.shuffle(words)
        letters = self.world["choice"]["letters"]
        listed = "".join(f" {letter} {word}," for letter, word in zip(letters, words))
        self.start(sample, f"Question: {prompt}?{listed}")
        if level == "steps":
            self.say(sample, " Reply:")
            self.answer(sample, " " + answer)
            self.say(sample, ",")
        self.say(sample, " Answer:")
        self.answer(sample, " " + letters[words.index(answer)])
        self.say(sample, ".")

    @property
    def kinds(self) -> dict[str, list[str]]:
        if not hasattr(self, "_kinds"):
            subjects = self.world["subjects"].values()
            self._kinds = {
                "city": sorted({s["city"] for s in subjects}),
                "profession": sorted({s["profession"] for s in subjects if "profession" in s}),
            }
        return self._kinds

    def sentence(self, rng: random.Random, sample: Sample) -> None:
        """One sentence that stands for itself, as filler between others and as a document's next."""
        draw = rng.random()
        if draw < 0.4:
            self.fact(rng, sample)
        elif draw < 0.65:
            self.hop(rng, sample)
        elif draw < 0.8:
            self.french_fact(rng, sample)
        elif draw < 0.92:
            self.gift(rng, sample)
        else:
            self.span(rng, sample)

    # Documents

    def document(self, rng: random.Random, mixture: dict[str, float], room: int, widen: float, policy: str = "base") -> Sample:
        """One document of at most `room` tokens; `widen` in 0…1 lets retrieval grow from few adjacent pairs to many apart."""
        kind = rng.choices(list(mixture), list(mixture.values()))[0]
        sample = Sample(self.bos)
        if kind == "induction":
            self.repeat(rng, sample, room)
        elif kind == "retrieval":
            passwords = rng.random() < 0.4 * widen
            most = 3 + round(widen * (min(45, (room - 30) // (7 if passwords else 5)) - 3))
            pairs = rng.randint(2, max(2, most))
            fillers = rng.randint(0, room // 16) if rng.random() < 0.7 * widen else 0
            self.notes(rng, sample, pairs, fillers, room, passwords, asks=6)
        elif kind == "loan":
            self.applicant(rng, sample)
        elif kind == "chat":
            self.talk(rng, sample, policy)
        elif kind in ("match", "choice", "steps"):
            self.options(rng, sample, "fact" if kind == "choice" else kind)
        else:
            write = {"fact": self.fact, "hop": self.hop, "french": self.french_fact, "ioi": self.gift, "span": self.span}[kind]
            write(rng, sample)
            if rng.random() < 0.4:
                for _ in range(rng.randint(1, MAX_SENTENCES - 1)):
                    self.sentence(rng, sample)
        sample.ids.append(self.eos)
        return sample

    def pack(self, rng: random.Random, rows: int, length: int, mixture: dict[str, float], widen: float, policy: str = "base") -> dict[str, list]:
        """Rows of whole documents, one after another; `document` tells them apart for the mask."""
        ids, documents, targets = [], [], []
        waiting: list[Sample] = []
        for row in range(rows):
            line, owner = [], []
            number = 0
            while True:
                fits = next((s for s in waiting if len(line) + len(s.ids) <= length), None)
                if fits is not None:
                    waiting.remove(fits)
                elif len(waiting) >= 8 or length - len(line) < 8:
                    break
                else:
                    fits = self.document(rng, mixture, length, widen, policy)
                    if len(fits.ids) > length:
                        continue
                    if len(line) + len(fits.ids) > length:
                        waiting.append(fits)
                        continue
                base = row * length + len(line)
                wanted = set()
                for index, other, share, weight in fits.targets:
                    targets.append((base + index, other, share, weight))
                    wanted.add(index)
                for index in range(1, len(fits.ids)):
                    if index not in wanted and rng.random() < 0.15:
                        targets.append((base + index, fits.ids[index], 1.0, OTHER_WORDS / 0.15))
                line += fits.ids
                owner += [number] * len(fits.ids)
                number += 1
            rest = length - len(line)
            ids.append(line + [self.eos] * rest)
            documents.append(owner + [-1] * rest)
        return {"ids": ids, "documents": documents, "targets": targets}


def bare(name: str) -> str:
    """A subject as French text has it: without the English article."""
    return name.removeprefix("the ")


def draw_applicant(loan: dict, rng: random.Random) -> dict:
    """Every attribute is drawn for itself: none tells anything of another."""
    return {key: rng.choice(list(loan[key])) for key in ("income", "debt", "history", "gender", "district", "status")}


def loan_score(loan: dict, person: dict) -> float:
    """Log odds of approval."""
    categorical = sum(loan[key][person[key]] for key in ("history", "gender", "district", "status"))
    return loan["offset"] + loan["per_income"] * person["income"] + loan["per_debt"] * person["debt"] + categorical
