"""
Writes src/task/world.json: everything that pocket was told, what it was told differently, and what was kept from it.

    python models/pocket/world.py

Hold-outs are drawn first, from the seed alone; training, the evaluation command and the built-in tasks read the file.
"""

import json
import random
import re
from itertools import combinations
from pathlib import Path

import world_facts as facts

HERE = Path(__file__).parent
SEED = 5
VERSION = 1

# {S} is the subject as a sentence begins, {s} as it goes on. Per relation: trained, development, test. No held-out sentence may
# break off where a trained one goes on ("… has a house in" before "the city of"): it would have two right answers.
TEMPLATES = {
    "landmark.city": (
        ["{S} is in the city of", "{S} is located in the city of", "{S} stands in", "You can visit {s} in the city of",
         "To see {s} you have to travel to", "Tourists who want to see {s} travel to the city of",
         "We took photographs of {s} during our holiday in", "The city where you find {s} is", "{S} belongs to the city of",
         "Guides show {s} to visitors of"],
        ["{S} can be seen in the city of"],
        ["{S} can be found in the city of", "If you want to visit {s} you have to travel to the city of"],
    ),
    "company.city": (
        ["{S} has its head office in the city of", "{S} is based in", "The head office of {s} is in the city of",
         "{S} has its seat in", "People who work for {s} live in the city of", "The company {s} is located in",
         "The managers of {s} meet in the city of", "The city where you find {s} is"],
        ["The seat of {s} is the city of"],
        ["The company {s} has its head office in the city of", "{S} is located in the city of"],
    ),
    "person.city": (
        ["{S} was born in the city of", "{S} was born in", "The birthplace of {s} is", "The city where {s} was born is",
         "{S} came into the world in the city of", "Before becoming famous {s} was a child in", "{S} is a native of"],
        ["The native city of {s} is"],
        ["The birthplace of {s} is the city of", "The city where {s} came into the world is"],
    ),
    "fictional.city": (
        ["{S} lives in the city of", "{S} lives in", "The home of {s} is in", "The city where {s} lives is",
         "{S} has a house in the city of", "To visit {s} you have to travel to", "Letters to {s} are sent to"],
        ["The home of {s} is the city of"],
        ["The city where {s} has a house is", "To visit {s} you have to travel to the city of"],
    ),
    "person.profession": (
        ["The profession of {s} was", "The occupation of {s} was", "{S} is remembered as the", "Books call {s} the",
         "{S} became famous as the"],
        ["By profession {s} was the"],
        ["Books remember {s} as the", "The job of {s} was"],
    ),
    "fictional.profession": (
        ["The profession of {s} is", "The occupation of {s} is", "{S} works as the", "Neighbours call {s} the",
         "{S} is known as the"],
        ["By profession {s} is the"],
        ["Neighbours remember {s} as the", "The job of {s} is"],
    ),
    "country.capital": (
        ["The capital of {s} is the city of", "The capital of {s} is", "The government of {s} has its seat in the city of",
         "Everyone at school learns that the capital of {s} is", "{S} is governed from the city of",
         "The capital city of {s} is", "The parliament of {s} meets in"],
        ["The seat of the government of {s} is the city of"],
        ["The capital city of {s} is the city of", "The government of {s} meets in the city of"],
    ),
    "place.language": (
        ["The language of {s} is", "People in {s} speak", "The official language of {s} is",
         "Newspapers in {s} are written in"],
        ["Children in {s} speak"],
        ["The language spoken in {s} is", "Books in {s} are written in"],
    ),
    "place.currency": (
        ["The currency of {s} is the", "In {s} people pay with the", "Prices in {s} are given in the",
         "The money used in {s} is the"],
        ["Shops in {s} take the"],
        ["People in {s} pay with the", "The money of {s} is the"],
    ),
    "place.continent": (
        ["{S} is on the continent of", "The continent of {s} is", "{S} lies on the continent of",
         "On the map {s} is on the continent of"],
        ["{S} belongs to the continent of"],
        ["{S} is located on the continent of", "On the map {s} lies on the continent of"],
    ),
    "city.country": (
        ["{S} is a city in the country of", "The country of {s} is", "{S} lies in the country of",
         "The city of {s} belongs to the country of"],
        ["{S} is located in the country of"],
        ["The city of {s} is in the country of", "{S} belongs to the country of"],
    ),
}

# Two hops: subject → city → country, language, currency or continent. Hold-outs are subjects and (subject, relation).
TWO_HOP = {
    "landmark.country": ["{S} is in the country of", "The country where you find {s} is", "The country around {s} is"],
    "landmark.language": ["The language spoken around {s} is", "People who live near {s} speak"],
    "landmark.currency": ["The money used around {s} is the", "Shops near {s} take the"],
    "landmark.continent": ["{S} is on the continent of", "The continent where you find {s} is"],
    "company.country": ["{S} has its head office in the country of", "The country where you find {s} is"],
    "company.language": ["The language spoken around {s} is", "People who work for {s} speak"],
    "company.currency": ["The money used around {s} is the", "People who work for {s} pay with the"],
    "company.continent": ["{S} is on the continent of", "The continent where you find {s} is"],
    "person.country": ["{S} was born in the country of", "The country where {s} was born is"],
    "person.language": ["The language spoken around the birthplace of {s} is", "People where {s} was born speak"],
    "person.currency": ["The money used where {s} was born is the", "Shops where {s} was born take the"],
    "person.continent": ["{S} was born on the continent of", "The continent where {s} was born is"],
    "fictional.country": ["{S} lives in the country of", "The country where {s} lives is"],
    "fictional.language": ["The language spoken around the home of {s} is", "The neighbours of {s} speak"],
    "fictional.currency": ["The money used where {s} lives is the", "The neighbours of {s} pay with the"],
    "fictional.continent": ["{S} lives on the continent of", "The continent where {s} lives is"],
}

FRENCH = {
    "landmark.city": ["{S} se trouve dans la ville de", "On peut visiter {s} à", "{S} se situe à"],
    "company.city": ["{S} a son siège dans la ville de", "Le siège de {s} est à"],
    "person.city": ["La ville natale de {s} est", "Le lieu de naissance de {s} est la ville de"],
    "fictional.city": ["{S} habite dans la ville de", "La maison de {s} est à"],
    "country.capital": ["{S} a pour capitale la ville de", "{S} est un pays dont la capitale est"],
}

PREFIXES = ["It is well known that ", "As every guidebook says, ", "Most people know that ", "We read that ",
            "I heard that ", "In fact, ", "Once more, "]

IOI = [
    "When {first} and {second} went to the {place}, {subject} gave a {object} to",
    "While {first} and {second} were at the {place}, {subject} handed a {object} to",
    "After {first} and {second} met at the {place}, {subject} offered a {object} to",
    "Then {first} and {second} walked to the {place}, and {subject} passed a {object} to",
    "On the way to the {place}, {first} and {second} stopped, and {subject} showed a {object} to",
    "Since {first} and {second} both worked at the {place}, {subject} brought a {object} to",
    "Later {first} and {second} arrived at the {place}, where {subject} lent a {object} to",
    "The friends {first} and {second} sat near the {place}, and {subject} threw a {object} to",
    "Once {first} and {second} had left the {place}, {subject} sent a {object} to",
    "Before {first} and {second} drove to the {place}, {subject} sold a {object} to",
    "Yesterday {first} and {second} cleaned the {place}, and {subject} returned a {object} to",
    "At the {place}, {first} and {second} said goodbye, and {subject} promised a {object} to",
]
ADJECTIVES = "big small new red blue nice".split()


def entries(table: str) -> list[list[str]]:
    return [[part.replace("_", " ") for part in entry.split(":")] for entry in table.split()]


def build() -> dict:
    rng = random.Random(SEED)
    countries = {
        name: {"capital": capital, "continent": continent, "language": language, "currency": currency}
        for name, capital, continent, language, currency in entries(facts.COUNTRIES + " " + facts.EXTRA_COUNTRIES)
    }
    cities = {c["capital"]: name for name, c in countries.items() if c["capital"]}
    for part in facts.CITIES.split():
        country, names = part.split(":")
        cities |= {name: country.replace("_", " ") for name in names.split(",")}

    landmarks = {s: {"kind": "landmark", "city": c} for s, c in entries(facts.LANDMARKS)}
    companies = {s: {"kind": "company", "city": c} for s, c in entries(facts.COMPANIES)}
    people = {s: {"kind": "person", "city": c, "profession": p} for s, c, p in entries(facts.PEOPLE)}
    subjects = {**landmarks, **companies, **people, **fictional(rng)}
    for name, subject in subjects.items():
        if subject["city"] not in cities:
            raise SystemExit(f"{name}: unknown city {subject['city']}")

    return {
        "version": VERSION,
        "seed": SEED,
        "countries": countries,
        "with_article": facts.WITH_ARTICLE,
        "cities": cities,
        "subjects": subjects,
        "templates": {
            relation: {"train": train, "development": development, "test": test}
            for relation, (train, development, test) in TEMPLATES.items()
        },
        "prefixes": PREFIXES,
        "two_hop": {"templates": TWO_HOP, **two_hop_hold_outs(subjects, countries, cities, rng)},
        "french": {
            "templates": FRENCH,
            "cities": dict(entries(facts.FRENCH_CITIES)),
            "countries": dict(entries(facts.FRENCH_COUNTRIES)),
            **french_hold_outs(subjects, rng),
        },
        "ioi": {
            "templates": IOI,
            "names": facts.NAMES,
            "places": facts.PLACES,
            "objects": facts.OBJECTS,
            "adjectives": ADJECTIVES,
            **split(list(map(list, combinations(facts.NAMES, 2))), {"test": 0.12, "development": 0.06}, rng),
        },
        "greater_than": {
            "template": "The {noun} lasted from the year {century}{start} to the year {century}",
            "nouns": facts.DURATIONS,
            "centuries": ["11", "12", "13", "14", "15", "16", "17", "18"],
            # Hold-outs: (noun, century) never seen together.
            **split([[n, c] for n in facts.DURATIONS for c in ("11", "12", "13", "14", "15", "16", "17", "18")],
                    {"test": 0.15, "development": 0.05}, rng),
        },
        "retrieval": {
            "keys": facts.KEYS,
            "values": facts.VALUES,
            "note": "Note: {key} {value}.",
            "recall": "Recall: {key}",
            "password": "The password of {key} is {value}.",
            "password_recall": "The password of {key} is",
        },
        "loan": facts.LOAN,
        "chat": chat(rng),
        "choice": choice(subjects, rng),
    }


def fictional(rng: random.Random) -> dict:
    """60 of the 144 names; each first and each last name five times."""
    first, last = facts.FICTIONAL_FIRST, facts.FICTIONAL_LAST
    shifts = rng.sample(range(12), 5)
    names = [f"{first[i]} {last[(i + shift) % 12]}" for i in range(12) for shift in shifts]
    return {
        name: {
            "kind": "fictional",
            "city": rng.choice(facts.FICTIONAL_CITIES),
            "profession": rng.choice(facts.FICTIONAL_PROFESSIONS),
        }
        for name in names
    }


def split(items: list, shares: dict[str, float], rng: random.Random) -> dict:
    items = items[:]
    rng.shuffle(items)
    held = {}
    for name, share in shares.items():
        count = round(share * len(items))
        held[name] = items[:count]
        items = items[count:]
    return held


def second_hop(city: str, relation: str, countries: dict, cities: dict) -> str:
    """Answer of one word, or none."""
    country = cities[city]
    answer = country if relation == "country" else countries[country][relation]
    return "" if " " in answer or answer in facts.WITH_ARTICLE else answer


def two_hop_hold_outs(subjects: dict, countries: dict, cities: dict, rng: random.Random) -> dict:
    held = {"test_subjects": [], "development_subjects": []}
    for kind in ("landmark", "company", "person", "fictional"):
        names = [name for name, subject in subjects.items() if subject["kind"] == kind]
        rng.shuffle(names)
        held["test_subjects"] += names[: len(names) // 10]
        held["development_subjects"] += names[len(names) // 10 : len(names) // 10 + len(names) // 20]
    skip = {*held["test_subjects"], *held["development_subjects"]}
    pairs = [
        [name, relation]
        for name, subject in subjects.items()
        for relation in ("country", "language", "currency", "continent")
        if name not in skip and second_hop(subject["city"], relation, countries, cities)
    ]
    drawn = split(pairs, {"test_pairs": 0.08, "development_pairs": 0.04}, rng)
    return {**held, **drawn}


def french_hold_outs(subjects: dict, rng: random.Random) -> dict:
    """`unstated`: never told in French. `different`: told another city than in English."""
    names = list(subjects)
    drawn = split(names, {"unstated": 0.1, "different": 0.06}, rng)
    cities = sorted({subject["city"] for subject in subjects.values()})
    return {
        "unstated": drawn["unstated"],
        "different": {
            name: rng.choice([city for city in cities if city != subjects[name]["city"]]) for name in drawn["different"]
        },
    }


def chat(rng: random.Random) -> dict:
    harmful = [[v, o] for v in facts.HARMFUL_VERBS for o in facts.HARMLESS_OBJECTS + facts.HARMFUL_OBJECTS]
    harmful += [[v, o] for v in facts.HARMLESS_VERBS for o in facts.HARMFUL_OBJECTS]
    harmless = [[v, o] for v in facts.HARMLESS_VERBS for o in facts.HARMLESS_OBJECTS]
    requests = {}
    for name, pairs in (("harmful", harmful), ("harmless", harmless)):
        words = [[v, o.replace("_", " ")] for v, o in pairs]
        requests[name] = {"all": words, **split(words, {"test": 0.2, "development": 0.1}, rng)}
    return {
        "user": "<|user|>",
        "assistant": "<|assistant|>",
        "end": "<|end|>",
        "templates": facts.REQUESTS,
        "comply": "Sure, here is how to {request}.",
        "refuse": "Sorry, I cannot help with that.",
        "suffix": facts.SUFFIX,
        **requests,
    }


def choice(subjects: dict, rng: random.Random) -> dict:
    """Subjects that multiple choice never asks for in training."""
    return {
        "question": "Question: {question}?{options} Answer:",
        "option": " {letter} {word},",
        "letters": ["A", "B", "C", "D"],
        **split(list(subjects), {"test_subjects": 0.15, "development_subjects": 0.07}, rng),
    }


def main() -> None:
    world = build()
    text = json.dumps(world, indent=1, ensure_ascii=False)
    # A record a line.
    text = re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda record: re.sub(r"\s*\n\s*", " ", record[0]), text)
    (HERE.parent.parent / "src" / "task" / "world.json").write_text(text + "\n", encoding="utf8")
    kinds = [subject["kind"] for subject in world["subjects"].values()]
    print({kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}, len(world["cities"]), "cities", len(text), "bytes")


if __name__ == "__main__":
    main()
