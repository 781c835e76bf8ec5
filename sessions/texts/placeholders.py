"""Places in a text that are filled in: `${name}`, `${name=default}`, and `$${` for a literal `${`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sessions.errors import UsageError

#: The value that is the folder of the file itself.
HERE = "here"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Where a place to fill begins and ends.
_MARK = re.compile(r"\$\{|\}")


def assignments(given: Iterable[str]) -> dict[str, str]:
    """`name=value` words as a mapping.

    Raises:
        UsageError: a word is not of that form.
    """
    values = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError(f"'{word}' is not name=value", "for example: --set model=smollm2")
        values[name] = value
    return values


def filled(line: str, values: Mapping[str, str], used: set[str], where: str) -> str:
    """The line with its places filled."""
    pieces, at = [], 0
    for place in placeholders(line):
        pieces.append(line[at : place.begin - place.literal])
        pieces.append(line[place.begin : place.end] if place.literal else _value(place.inside, values, used, where))
        at = place.end
    return "".join([*pieces, line[at:]])


def values_in(text: str) -> dict[str, str | None]:
    """What a file can be given: names of values, each with what it is otherwise, None where it has to be given."""
    given = (place.inside.partition("=") for place in placeholders(text) if not place.literal)
    return {name: default if has_default else None for name, has_default, default in given if name != HERE}


class Placeholder(NamedTuple):
    """A place to fill: where it begins and ends, what stands inside, and whether it stands for itself (`$${`)."""

    begin: int
    end: int
    inside: str
    literal: bool


def placeholders(text: str) -> Iterator[Placeholder]:
    """The places of a text; each is looked for from where the one before it ends."""
    at = 0
    while (begin := text.find("${", at)) >= 0 and (end := _end_of(text, begin)) >= 0:
        yield Placeholder(begin, end + 1, text[begin + 2 : end], text[at:begin].endswith("$"))
        at = end + 1


def _end_of(line: str, begin: int) -> int:
    """Where the place that begins at `begin` ends, places in its default passed over; -1 where it does not."""
    depth = 0
    for mark in _MARK.finditer(line, begin):
        depth += 1 if mark[0] == "${" else -1
        if depth == 0:
            return mark.start()
    return -1


def _value(inside: str, values: Mapping[str, str], used: set[str], where: str) -> str:
    """What stands for a place. A value that is given is taken as it is; a default may have places of its own."""
    name, has_default, default = inside.partition("=")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{where}: '${{{inside}}}' does not name a value", "for example: ${model}")
    used.add(name)
    if name in values:
        return values[name]
    if has_default:
        return filled(default, values, used, where)
    raise UsageError(f"{where}: no value for ${{{name}}}", f"give one: --set {name}=…")
