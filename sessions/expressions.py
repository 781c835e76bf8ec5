"""Regular expressions from files and lines. They run in the sandbox, because some would backtrack for ever.

They are those of Python's `re`, unless the package `regex` is asked for, which understands more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from sessions.sandbox import ProgramError, TooMuch, answer_to

Span = tuple[int, int]
Package = Literal["re", "regex"]
#: Characters that an expression may have.
LONGEST = 2000


class Malformed(ValueError):
    """It is not a regular expression, or parsing it takes too much time or memory."""


class TooSlow(Exception):
    """Matching takes too much time or memory. `str` says which, as a phrase that follows the expression's name."""


@lru_cache(maxsize=1024)
def check(expression: str, package: Package = "re") -> None:
    """Raise `Malformed` unless it is a regular expression."""
    try:
        found_in(expression, [""], package)
    except TooSlow as error:
        raise Malformed(f"it {error}") from error


def first(expression: str, text: str, package: Package = "re") -> Span | None:
    """The first match in a text. Raises `Malformed`, `TooSlow`."""
    (spans,) = _spans(expression, [text], package, every=False)
    return spans[0] if spans else None


def every(expression: str, text: str) -> list[Span]:
    """All matches in a text. Raises `Malformed`, `TooSlow`."""
    (spans,) = _spans(expression, [text], "re", every=True)
    return spans


def found_in(expression: str, texts: Sequence[str], package: Package = "re") -> list[bool]:
    """For each text, whether it has a match. Raises `Malformed`, `TooSlow`."""
    return [bool(spans) for spans in _spans(expression, texts, package, every=False)]


def _spans(expression: str, texts: Sequence[str], package: Package, *, every: bool) -> list[list[Span]]:
    if len(expression) > LONGEST:
        raise Malformed(f"it has {len(expression):,} characters; at most {LONGEST:,} are allowed")
    try:
        request = {"kind": "expression", "expression": expression, "texts": list(texts), "all": every}
        answers = answer_to({**request, "package": package})["spans"]
    except ProgramError as error:
        raise Malformed(str(error)) from error
    except TooMuch as error:
        raise TooSlow(error.said) from error
    return [[(begin, end) for begin, end in spans] for spans in answers]
