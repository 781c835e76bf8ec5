"""Tasks of the field as pairs of prompts: made from templates, with words that are one token each.

Every task has pairs to find a circuit and pairs to measure it, with disjoint content words. A pair is a clean prompt
with its target and counterfactual, and a corrupt prompt of the same length after which the counterfactual is right.

    ioi             indirect objects (Wang et al. 2022): who received it is the one who did not give it
    greater-than    years (Hanna et al. 2023), by the digit of the decade: both embedded models read digit by digit
    docstring       the next argument of a function (Heimersheim and Janiak 2023)
    agreement       subject and verb: next to each other, across a prepositional phrase, within a relative clause
    gender          the pronoun that a model takes an occupation to have (Vig et al. 2020)

`tests/test_tasks.py` checks every word on both embedded models.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import product

from sessions.texts.prompt_files import PromptRecord

#: Pairs of a split.
PAIRS = 40
#: Pairs that are drawn at random, of which the first different ones are taken.
_TRIES = 80
#: The splits: where circuits are found, and where they are measured.
SPLITS = ("discover", "test")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_NAMES = _words(
    "John Mary Tom James Anna Paul Mark Peter David Sarah Jack Lisa Mike Kate Alex Emma Henry Alice Frank "
    "Jane Robert Laura Daniel Helen Sam Rachel Ben Susan Chris Linda"
)
_PLACES = _words("store park school office station garden beach market")
_THINGS = _words("book ring drink gift letter ball key card")
_EVENTS = _words("war siege trial strike journey voyage project festival drought famine")
_ARGUMENTS = _words("file name size path data text code line user mode page list node root time type")
_VERBS = _words("Read Write Load Save Open Close Send Copy")
_PEOPLE = _words(
    "boy girl teacher doctor farmer driver student lawyer worker artist singer player leader hunter "
    "soldier writer king friend neighbor customer"
)
_NEAR = _words("near behind beside above below")
_OBJECTS = _words("cabinet table tree house bridge tower wall road river hill")
_SAW = _words("liked saw helped followed knew")
_SHE = _words("nurse maid dancer teacher secretary assistant")
_HE = _words("mechanic carpenter soldier farmer captain driver guard engineer")
_SAID = _words("said thought explained")

Maker = Callable[[random.Random, int], list[PromptRecord]]


def pairs(task: str, split: str, count: int = PAIRS) -> tuple[PromptRecord, ...]:
    """The first pairs of a task for one split, the same in every run."""
    made = TASKS[task](random.Random(f"{task} {split}"), SPLITS.index(split))
    return tuple({pair.prompt: pair for pair in made}.values())[:count]


def _half(words: Sequence[str], split: int) -> list[str]:
    """The words of a split."""
    return list(words[split::2])


def _pair(clean: str, corrupt: str, target: str, other: str) -> PromptRecord:
    return PromptRecord(prompt=clean, corrupt=corrupt, target=target, counterfactual=other, raw=True)


def _ioi(rng: random.Random, split: int) -> list[PromptRecord]:
    names, places, things = (_half(words, split) for words in (_NAMES, _PLACES, _THINGS))
    made = []
    for _ in range(_TRIES):
        (one, two), place, thing = rng.sample(names, 2), rng.choice(places), rng.choice(things)
        text = f"When {one} and {two} went to the {place}, {{}} gave a {thing} to"
        made.append(_pair(text.format(two), text.format(one), f" {one}", f" {two}"))
    return made


def _greater_than(rng: random.Random, split: int) -> list[PromptRecord]:
    made = []
    for _ in range(_TRIES):
        event, century, decade = rng.choice(_half(_EVENTS, split)), rng.randint(13, 18), rng.randint(3, 7)
        above, below, year = rng.randint(decade + 1, 9), rng.randint(1, decade - 1), rng.randint(1, 8)
        text = f"The {event} lasted from the year {century}{{}}{year} to the year {century}"
        made.append(_pair(text.format(decade), text.format(0), str(above), str(below)))
    return made


def _docstring(rng: random.Random, split: int) -> list[PromptRecord]:
    arguments, verbs = _half(_ARGUMENTS, split), _half(_VERBS, split)
    made = []
    for _ in range(_TRIES):
        one, two, three, four = rng.sample(arguments, 4)
        text = (
            f'def run(self, {one}, {two}, {{}}):\n    """{rng.choice(verbs)} it.\n\n'
            f"    :param {one}: the first\n    :param {two}: the second\n    :param"
        )
        made.append(_pair(text.format(three), text.format(four), f" {three}", f" {four}"))
    return made


def _number(rng: random.Random, texts: Sequence[tuple[str, str]]) -> list[PromptRecord]:
    """Pairs of texts with a blank for a noun, once in the plural and once in the singular, by turns."""
    made = []
    for text, noun in texts:
        many, one = text.format(f"{noun}s"), text.format(noun)
        made += [_pair(many, one, " were", " was"), _pair(one, many, " was", " were")]
    rng.shuffle(made)
    return made


def _simple(rng: random.Random, split: int) -> list[PromptRecord]:
    starts = ("The {}", "Then the {}")
    return _number(rng, [(start, noun) for start, noun in product(starts, _half(_PEOPLE, split))])


def _across(rng: random.Random, split: int) -> list[PromptRecord]:
    nouns, objects = _half(_PEOPLE, split), _half(_OBJECTS, split)
    texts = [(f"The {{}} {rng.choice(_NEAR)} the {rng.choice(objects)}", noun) for noun in nouns * 3]
    return _number(rng, texts)


def _within(rng: random.Random, split: int) -> list[PromptRecord]:
    nouns = _half(_PEOPLE, split)
    texts = [
        (f"The {{}} that the {rng.choice([other for other in nouns if other != noun])} {rng.choice(_SAW)}", noun)
        for noun in nouns * 3
    ]
    return _number(rng, texts)


def _gender(rng: random.Random, split: int) -> list[PromptRecord]:
    she, he = _half(_SHE, split), _half(_HE, split)
    made = []
    for start, said in product(("The {}", "Then the {}"), _SAID):
        text = f"{start} {said} that"
        made += [_pair(text.format(one), text.format(rng.choice(he)), " she", " he") for one in she]
        made += [_pair(text.format(one), text.format(rng.choice(she)), " he", " she") for one in he]
    rng.shuffle(made)
    return made


TASKS: dict[str, Maker] = {
    "ioi": _ioi,
    "greater-than": _greater_than,
    "docstring": _docstring,
    "agreement": _simple,
    "agreement-across": _across,
    "agreement-within": _within,
    "gender": _gender,
}
