"""Regular expressions of other people, in files and on lines: each is a program, and runs in the sandbox.

Some take longer than the universe has to find nothing. Where nothing is said they are those of Python's `re`; the
package `regex` reads more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from sessions.sandbox import ProgramError, TooMuch, answer_to

Span = tuple[int, int]
Package = Literal["re", "regex"]
#: Characters that an expression may be long.
LONGEST = 2000


class Malformed(ValueError):
    """It is no regular expression, or one that takes too much to be read."""


class TooSlow(Exception):
    """It has not decided in its time, or needs too much memory: `str` says which, to stand behind its name."""


@lru_cache(maxsize=1024)
def check(expression: str, package: Package = "re") -> None:
    """Raise `Malformed` unless it is a regular expression."""
    try:
        found_in(expression, [""], package)
    except TooSlow as error:
        raise Malformed(f"it {error}") from error


def first(expression: str, text: str, package: Package = "re") -> Span | None:
    """Where it is first found in a text. Raises `Malformed`, `TooSlow`."""
    (spans,) = _spans(expression, [text], package, every=False)
    return spans[0] if spans else None


def every(expression: str, text: str) -> list[Span]:
    """Wherever it is found in a text. Raises `Malformed`, `TooSlow`."""
    (spans,) = _spans(expression, [text], "re", every=True)
    return spans


def found_in(expression: str, texts: Sequence[str], package: Package = "re") -> list[bool]:
    """In which of these texts it is found. Raises `Malformed`, `TooSlow`."""
    return [bool(spans) for spans in _spans(expression, texts, package, every=False)]


def _spans(expression: str, texts: Sequence[str], package: Package, *, every: bool) -> list[list[Span]]:
    if len(expression) > LONGEST:
        raise Malformed(f"it has {len(expression):,} characters, and {LONGEST:,} are the most")
    try:
        request = {"kind": "expression", "expression": expression, "texts": list(texts), "all": every}
        found = answer_to({**request, "package": package})["spans"]
    except ProgramError as error:
        raise Malformed(str(error)) from error
    except TooMuch as error:
        raise TooSlow(error.said) from error
    return [[(begin, end) for begin, end in spans] for spans in found]
