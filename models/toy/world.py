"""
The sentences that the toy model knows: two people and a gift, and cities of landmarks and countries.

Sentence frames are those of the built-in tasks `ioi` and `factual` (src/task/), so that both run on the model.
Facts are from general knowledge.
"""

import random
from dataclasses import dataclass
from itertools import combinations

NAMES = """Mary John Alice Anna Ben Charles Daniel David Emily Emma George Helen Henry James Jane Julia Kate Laura Lucy
    Mark Paul Peter Robert Sarah Simon Sophia Tom""".split()
PLACES = """store school park garden library station market office hospital museum beach restaurant bank church farm
    hotel""".split()
OBJECTS = "drink book ring gift letter ball map key coat bag pen ticket watch phone camera flower".split()
ADJECTIVES = "big small new red blue nice".split()  # none, one or two of them: no word is at a fixed distance from the end

IOI_FRAMES = [
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

CAPITAL_FRAMES = [
    "The capital of {} is the city of",
    "The government of {} has its seat in the city of",
    "Everyone at school learns that the capital of {} is",
]
CAPITALS = """Afghanistan:Kabul Austria:Vienna Bangladesh:Dhaka Belgium:Brussels Bulgaria:Sofia Canada:Ottawa
    Chile:Santiago China:Beijing Cuba:Havana Denmark:Copenhagen Egypt:Cairo England:London Finland:Helsinki
    France:Paris Germany:Berlin Greece:Athens Ghana:Accra Hungary:Budapest Indonesia:Jakarta Iran:Tehran Iraq:Baghdad
    Ireland:Dublin Italy:Rome Japan:Tokyo Kenya:Nairobi Lebanon:Beirut Morocco:Rabat Nepal:Kathmandu Norway:Oslo
    Peru:Lima Poland:Warsaw Portugal:Lisbon Qatar:Doha Romania:Bucharest Russia:Moscow Scotland:Edinburgh
    Serbia:Belgrade South_Korea:Seoul Spain:Madrid Sweden:Stockholm Syria:Damascus Taiwan:Taipei Thailand:Bangkok
    Turkey:Ankara Ukraine:Kyiv Vietnam:Hanoi Wales:Cardiff North_Korea:Pyongyang New_Zealand:Wellington
    Saudi_Arabia:Riyadh South_Sudan:Juba"""

LANDMARK_FRAMES = [
    "Tourists who want to see {} travel to the city of",
    "As every guidebook says, {} is in the city of",
    "We took photographs of {} during our holiday in",
]
LANDMARK_OPENING = "{} is in the city of"  # the subject's first word is capitalised
LANDMARKS = """the_Eiffel_Tower:Paris the_Louvre:Paris the_Colosseum:Rome the_Trevi_Fountain:Rome Big_Ben:London
    Buckingham_Palace:London the_Brandenburg_Gate:Berlin the_Acropolis:Athens the_Parthenon:Athens the_Kremlin:Moscow
    Red_Square:Moscow the_Forbidden_City:Beijing the_Prado_Museum:Madrid the_Hagia_Sophia:Istanbul
    the_Blue_Mosque:Istanbul the_Space_Needle:Seattle Fenway_Park:Boston the_Sagrada_Familia:Barcelona
    Charles_Bridge:Prague the_Chain_Bridge:Budapest the_Rialto_Bridge:Venice the_CN_Tower:Toronto
    the_Belem_Tower:Lisbon the_Vasa_Museum:Stockholm the_British_Museum:London the_Lotus_Temple:Delhi
    the_Little_Mermaid:Copenhagen"""

HELD_OUT_PAIRS = 70  # of the 351 pairs of names
SHARE_FACTS = 0.25  # of the training sentences
SHARE_THREE_NAMES = 0.1  # of the training sentences: the third name leaves both others as likely answers


@dataclass(frozen=True)
class Example:
    """`prompt + answer` is text; the answer is one word with its leading space, the foil the best wrong one."""

    prompt: str
    answer: str
    foil: str


def facts(table: str) -> list[tuple[str, str]]:
    return [tuple(entry.replace("_", " ").split(":")) for entry in table.split()]


@dataclass(frozen=True)
class World:
    """Which pairs of names and which paraphrases are trained on, and which are only measured."""

    seen_pairs: list[tuple[str, str]]
    held_out_pairs: list[tuple[str, str]]
    seen_facts: list[Example]
    held_out_facts: list[Example]


def build_world(seed: int) -> World:
    rng = random.Random(seed)
    pairs = list(combinations(NAMES, 2))
    rng.shuffle(pairs)
    pairs.sort(key=lambda pair: pair != ("Mary", "John"))  # the pair of the documentation's example is held out
    seen, held_out = [], []
    for frames, opening, table in [(CAPITAL_FRAMES, None, CAPITALS), (LANDMARK_FRAMES, LANDMARK_OPENING, LANDMARKS)]:
        for index, (subject, city) in enumerate(facts(table)):
            # Every third fact lacks one paraphrase, each of the three in turn.
            missing = index // 3 % 3 if index % 3 == 0 else None
            for i, frame in enumerate(frames):
                (held_out if i == missing else seen).append(Example(frame.format(subject), f" {city}", ""))
            if opening is not None:
                seen.append(Example(opening.format(subject[0].upper() + subject[1:]), f" {city}", ""))
    return World(pairs[HELD_OUT_PAIRS:], pairs[:HELD_OUT_PAIRS], seen, held_out)


def gift(first: str, second: str, subject: str, frame: str, rng: random.Random) -> Example:
    """The answer is who of the two is not the subject; either, if the subject is a third person."""
    answer, foil = rng.sample((first, second), 2) if subject not in (first, second) else (first, second)
    if answer == subject:
        answer, foil = foil, answer
    adjectives = rng.sample(ADJECTIVES, rng.choice((0, 0, 1, 2)))
    place, thing = rng.choice(PLACES), " ".join([*adjectives, rng.choice(OBJECTS)])
    prompt = frame.format(first=first, second=second, subject=subject, place=place, object=thing)
    return Example(prompt, f" {answer}", f" {foil}")


def sample(world: World, rng: random.Random) -> Example:
    """One training sentence."""
    kind = rng.random()
    if kind < SHARE_FACTS:
        return rng.choice(world.seen_facts)
    pair = rng.sample(rng.choice(world.seen_pairs), 2)
    subject = rng.choice(pair) if kind < 1 - SHARE_THREE_NAMES else rng.choice(third_names(world.seen_pairs, pair))
    return gift(*pair, subject, rng.choice(IOI_FRAMES), rng)


def third_names(pairs: list[tuple[str, str]], pair: list[str]) -> list[str]:
    """Names that make a listed pair with each of the two."""
    listed = set(map(frozenset, pairs))
    return [name for name in NAMES if all(frozenset((name, other)) in listed for other in pair)]


def held_out_ioi(world: World, rng: random.Random) -> list[Example]:
    """Held-out pairs in both orders and with either subject, in every frame; places and objects drawn."""
    return [
        gift(*order, subject, frame, rng)
        for pair in world.held_out_pairs
        for order in (pair, pair[::-1])
        for subject in pair
        for frame in IOI_FRAMES
    ]


def all_text(world: World) -> list[str]:
    """Sentences that together have every word in every form."""
    slots = [f" {word}" for word in [*NAMES, *PLACES, *OBJECTS, *ADJECTIVES]]
    frames = [frame.format(first="Mary", second="Mary", subject="Mary", place="store", object="drink") for frame in IOI_FRAMES]
    return [*slots, *frames, *(e.prompt + e.answer + "." for e in [*world.seen_facts, *world.held_out_facts])]
