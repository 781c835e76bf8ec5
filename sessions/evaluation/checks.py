"""Checks: whether a reply is right, and where in it the answer first stands.

    number    the last number of the reply is the answer, exactly: 1,234 is 1234 and 42.0 is 42 (see `numbers`). A reply
              that marks its answer is judged by what the mark marks, whatever is said after it (see `marked`).
    any-number    any number of the reply is the answer, last or not, marked or not. It is lenient: a reply that tries
              many numbers passes
    regex     a regular expression is found somewhere in the reply; case counts unless it begins with (?i)
    contains  a text is found in it, whatever the case of its letters, the width of its blanks, and whether an accent is
              part of a letter or follows it (both are brought to Unicode's NFC)

That the last number counts is the usual rule for problems that are worked out in words (lm-evaluation-harness,
gsm8k, `flexible-extract`). Where the answer first stands says how early it was known: for a number that is the first
one that equals it, be it the last or not.

A regular expression comes from a file, and some take practically forever. Each runs in the sandbox; a reply that it
does not decide within its time limit counts as wrong, with a remark.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from itertools import takewhile
from typing import Any, NamedTuple
from unicodedata import is_normalized, normalize

import regex  # type: ignore[import-untyped]
from msgspec import Struct

from sessions import expressions
from sessions.errors import ArtifactError
from sessions.evaluation.marked import marked
from sessions.evaluation.numbers import numbers, value_of

KINDS = ("number", "any-number", "regex", "contains")
#: Those whose value is a number.
_NUMBERS = ("number", "any-number")
#: Characters that the value of a check may be long.
LONGEST = expressions.LONGEST


class Check(Struct, frozen=True):
    """What is asked of a reply: one of `KINDS`, and the number, the expression or the text."""

    kind: str
    value: str


class Verdict(NamedTuple):
    """Whether all checks hold, the character at which the last of what they look for first begins (None where one is
    not there), and whether an expression took too long."""

    right: bool
    at: int | None
    slow: bool = False


def usual(answer: str) -> str:
    """The kind of check for an answer that says none."""
    return "number" if value_of(answer) is not None else "contains"


def checked(check: Check, source: str) -> Check:
    """The check, if it is one.

    Raises:
        ArtifactError: its value is empty, no number, or no regular expression; `source` is how the message begins.
    """
    if not check.value.strip():
        raise ArtifactError(f"{source} has an empty check '{check.kind}'", 'for example: "answer": "42"')
    if check.kind in _NUMBERS and _wanted(check.value) is None:
        raise ArtifactError(
            f"{source} asks for the number {check.value!r}, which is not a number", 'digits: "42", "-1,234.5", "3/4"'
        )
    if len(check.value) > LONGEST:
        raise ArtifactError(f"{source} has a check of {len(check.value):,} characters", f"{LONGEST:,} at most")
    if check.kind == "regex":
        try:
            expressions.check(check.value, "regex")
        except expressions.Malformed as error:
            raise ArtifactError(
                f"{source} has {check.value!r}, which is not a regular expression: {error}", "see Python's re"
            ) from error
    return check


def judged(checks: tuple[Check, ...], text: str) -> Verdict:
    """All checks of a task on a reply."""
    verdicts = [_judged(check, text) for check in checks]
    places = [verdict.at for verdict in verdicts]
    return Verdict(
        right=all(verdict.right for verdict in verdicts),
        at=None if None in places else max(place for place in places if place is not None),
        slow=any(verdict.slow for verdict in verdicts),
    )


def _judged(check: Check, text: str) -> Verdict:
    if check.kind in _NUMBERS:
        return _numbered(check.value, text, anywhere=check.kind == "any-number")
    if check.kind == "contains":
        match = _literal(check.value).search(normalize("NFC", text))
        return Verdict(False, None) if match is None else Verdict(True, _composed_at(text, match.start()))
    try:
        span = expressions.first(check.value, text, "regex")
    except expressions.TooSlow:
        return Verdict(False, None, slow=True)
    return Verdict(span is not None, None if span is None else span[0])


def _composed_at(text: str, at: int) -> int:
    """Where in a text the character begins that is number `at` of the same text in NFC."""
    if is_normalized("NFC", text):
        return at
    return bisect_right(range(len(text)), at, key=lambda end: len(normalize("NFC", text[: end + 1])))


def _numbered(answer: str, text: str, *, anywhere: bool) -> Verdict:
    wanted, all_of_them = _wanted(answer), list(numbers(text))
    first = next((number.start for number in all_of_them if wanted in number.values), None)
    if anywhere:
        return Verdict(first is not None, first)
    last = marked(text, all_of_them) or (all_of_them[-1] if all_of_them else None)
    return Verdict(last is not None and wanted in last.values, first)


def _wanted(answer: str) -> Any:
    """The value that an answer states, which may have a unit beside it; None where it states none, or several."""
    written = list(numbers(answer))
    return written[0].values[0] if len(written) == 1 and written[0].values else None


@lru_cache(maxsize=1024)
def _literal(text: str) -> Any:
    words = (regex.escape(word) for word in regex.split(r"\s+", normalize("NFC", text)) if word)
    return regex.compile(r"\s+".join(words), regex.IGNORECASE | regex.FULLCASE)


#: A character of Chinese or Japanese with the signs right behind it, or what stands between two blanks.
_WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]\p{P}*|[^\s\p{Han}\p{Hiragana}\p{Katakana}]+")


def word_at(text: str, at: int) -> int:
    """Which word of a text character `at` is in, from 0: how many words stand before it.

    Words are what blanks part. Chinese and Japanese have none, and each of their characters counts as a word.
    """
    return sum(1 for _ in takewhile(lambda word: word.end() <= at, _WORD.finditer(text)))


def token_at(text_of: Callable[[int], str], count: int, at: int) -> int:
    """Which of `count` tokens writes character `at`, from 0; `text_of(n)` is the text of the first n of them."""
    low, high = 0, max(count - 1, 0)
    while low < high:
        middle = (low + high) // 2
        shown = text_of(middle + 1)
        # The bytes of a character that is not complete yet show as replacement characters.
        hidden = sum(1 for _ in takewhile(lambda character: character == "�", reversed(shown)))
        if len(shown) - hidden > at:
            high = middle
        else:
            low = middle + 1
    return low
