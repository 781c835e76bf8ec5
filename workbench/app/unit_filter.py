"""The filter of the table of neurons: what is typed to narrow it, and what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sessions.model.units import LETTERS, Unit
from workbench.app.filtering import FilterColumn, NumberComparison, parts
from workbench.app.neuron_columns import COLUMNS, FETCHED, RATE, SHARE

#: Columns that a filter can compare with a number, with their titles in the table.
NUMBERS = tuple(
    FilterColumn(column.key, column.title, percent=column in (SHARE, RATE)) for column in COLUMNS if not column.most
)
#: The letters of the kinds of units; arrays have the places in it.
ORDER = "".join(LETTERS.values())

_RANGE = re.compile(r"L(\d{1,9})(?:-(\d{1,9}))?", re.IGNORECASE)
_INDEX = re.compile(r"([NHE])(?:(\d{1,9})(?:-(\d{1,9}))?|\*)", re.IGNORECASE)
_NEURON = re.compile(r"L?(\d{1,9})/([NHE])?(?:(\d{1,9})|\*)?(?:@(-?\d{1,9})?)?", re.IGNORECASE)
_WHOLE = re.compile(r"[0-9]{1,9}")
_UNFINISHED = re.compile(r"[LNHE]|[LNHE]\d+-|@-?|@-?\d+-", re.IGNORECASE)
_POSITION = re.compile(r"@(-?\d{1,9})(?:-(\d{1,9}))?")
#: What can be typed, shown while the filter is empty.
SYNTAX = "L24  24/1005  H*  attr>.4  |effect|>1  share>5%  @-1  + - *  text"


class Filter(NamedTuple):
    """Which neurons to show. Words of one kind widen the filter; different kinds, and several texts, narrow it.

    `L24`, `L9-26`, `N1005`, `@41` and `@-1` (the last position), `+` or `-` for the sign, `*` for marked neurons.
    `L24/N1005`, `24/1005` or `24 1005` is one neuron, `L24/*` a layer's, `L5/H3` a head, `H*` all heads. A whole number
    alone is a layer, an index, or a text. Columns are compared with numbers as `filtering` says: `attr>0.4`,
    `|effect|>1`, `share>5%`. Other words, and quoted ones, are searched for in the token at the position, in the pushed
    tokens and in the token of the peak.
    Unfinished words, such as `L` or `attr>`, are ignored; so are wrong ones, which `wrong` tells.
    """

    layers: tuple[tuple[int, int], ...] = ()
    indices: tuple[tuple[int, int], ...] = ()
    kinds: tuple[int, ...] = ()
    positions: tuple[tuple[int, int], ...] = ()
    neurons: tuple[tuple[int, int | None, int | None, int | None], ...] = ()
    wholes: tuple[int, ...] = ()
    signs: tuple[str, ...] = ()
    marked: bool = False
    comparisons: tuple[NumberComparison, ...] = ()
    texts: tuple[str, ...] = ()
    wrong: str = ""

    @property
    def searches(self) -> bool:
        """Whether it looks at texts, or at columns that `neurons` fills."""
        return bool(self.texts or self.wholes or FETCHED.intersection(each.key for each in self.comparisons))

    @classmethod
    def read(cls, text: str) -> Filter:
        """Parse a filter as it is being typed."""
        found = parts(text, NUMBERS)
        words: dict[str, list[Any]] = {name: [] for name in cls._fields}
        words["texts"] += [text.casefold() for text in found.quoted]
        waiting = list(reversed(found.words))
        while waiting:
            word = waiting.pop()
            if _WHOLE.fullmatch(word):
                if waiting and _WHOLE.fullmatch(waiting[-1]):
                    words["neurons"].append((int(word), None, int(waiting.pop()), None))
                elif words["neurons"]:
                    words["neurons"].append((int(word), None, None, None))
                else:
                    words["wholes"].append(int(word))
            elif not _UNFINISHED.fullmatch(word):
                for kind, meaning in _meanings(word):
                    words[kind].append(meaning)
        kinds: dict[str, Any] = {name: tuple(values) for name, values in words.items()}
        kinds |= {"marked": bool(words["marked"]), "comparisons": found.comparisons, "wrong": found.wrong}
        return cls(**kinds)


def _meanings(word: str) -> Iterator[tuple[str, Any]]:
    """The fields of a filter that a word is for, and what it means there."""
    unit, number = _NEURON.fullmatch(word), _INDEX.fullmatch(word)
    if unit:
        layer, index, position = (None if each is None else int(each) for each in unit.group(1, 3, 4))
        yield "neurons", (layer, None if unit[2] is None else ORDER.index(unit[2].upper()), index, position)
        return
    if number:
        yield "kinds", ORDER.index(number[1].upper())
        if number[2] is not None:
            yield "indices", (int(number[2]), int(number[3] or number[2]))
        return
    for name, pattern in (("layers", _RANGE), ("positions", _POSITION)):
        match = pattern.fullmatch(word)
        if match:
            yield name, (int(match[1]), int(match[2] or match[1]))
            return
    yield {"+": "signs", "-": "signs", "*": "marked"}.get(word, "texts"), word.casefold()


def kind_of(unit: Unit) -> int:
    """The place of a unit's kind in `LETTERS`."""
    return ORDER.index(LETTERS[unit.kind])
