"""Rules: at which tokens of a text a rewritten neuron should fire.

    before:" Austin"    the token before that text: the text is what comes next
    after:"."           the token that the text ends with
    /[.?!]/             the token that a match of the regular expression ends in
    last                the last token

Texts are looked for between the tokens' own characters, as in `marking`. `before` asks that the text begins where a
token begins, `after` that it ends where a token ends; a match may end inside one. Quotes round the text may be left
out. A position of a text is where the model says its next token, so `before:" Austin"` are those where it should say
it, and `after:"."` those where a full stop has just been read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import accumulate
from typing import Literal

from msgspec import Struct

from sessions import expressions
from sessions.errors import UsageError

_KINDS = ("before", "after")
_EXAMPLES = 'for example: last, after:".", \'before:" Austin"\' or "/[.?!]/"'

#: What may stand round the text of a rule.
QUOTES = ('"', "'")


class Rule(Struct, frozen=True):
    """What a rule looks for; `text` is a text, or a regular expression, or empty."""

    kind: Literal["before", "after", "matches", "last"]
    text: str = ""

    def __str__(self) -> str:
        """As it is typed."""
        if self.kind == "last":
            return "last"
        return f"/{self.text}/" if self.kind == "matches" else f'{self.kind}:"{self.text}"'


def read_rule(text: str) -> Rule:
    """The rule that a word means.

    Raises:
        UsageError: it means none, or its regular expression is malformed.
    """
    if text == "last":
        return Rule("last")
    if text.startswith("/"):
        return Rule("matches", _expression(text))
    kind, colon, rest = text.partition(":")
    if not colon or kind not in _KINDS:
        near = get_close_matches(kind, (*_KINDS, "last"), 1)
        raise UsageError(f"unknown rule {text!r}", f"did you mean {near[0]}? {_EXAMPLES}" if near else _EXAMPLES)
    if rest[:1] in QUOTES and (len(rest) < 2 or not rest.endswith(rest[0])):
        raise UsageError(
            f"the text of the rule {text!r} is not closed",
            f'a text with a space in it: put quotes round the whole rule, \'{kind}:" Austin"\' or "{kind}: Austin"',
        )
    sought = rest[1:-1] if rest[:1] in QUOTES else rest
    if not sought:
        raise UsageError(f"the rule {text!r} names no text", f"for example: '{kind}:\" Austin\"'")
    return Rule(kind, sought)  # type: ignore[arg-type]


def _expression(text: str) -> str:
    inside = text[1:-1]
    if len(text) < 3 or not text.endswith("/"):
        raise UsageError(f"the regular expression {text!r} does not end", 'put it between slashes: "/[.?!]/"')
    try:
        re.compile(inside)
        if len(inside) > expressions.LONGEST:
            raise ValueError(f"it is longer than {expressions.LONGEST:,} characters")
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        raise UsageError(f"{text!r} is not a regular expression: {error}", 'for example: "/[.?!]/"') from error
    return inside


def places(rule: Rule, tokens: Sequence[str], first: int = 0) -> tuple[int, ...]:
    """Positions of a text that a rule means, in order. `tokens` are the texts of all its tokens.

    Args:
        first: what stands before this position is not looked at; `before` may mean the position before it.
    """
    if rule.kind == "last":
        return (len(tokens) - 1,)
    ends = list(accumulate((len(token) for token in tokens[first:]), initial=0))
    number = {end: first + at for at, end in enumerate(ends)}  # of the token that begins there
    positions: set[int] = set()
    for begin, end in _spans(rule, "".join(tokens[first:])):
        if begin == end:
            continue
        if rule.kind == "before":
            positions |= {number[begin] - 1} if begin in number else set()
        elif rule.kind == "after":
            positions |= {number[end] - 1} if end in number else set()
        else:
            positions.add(first + next(at for at, last in enumerate(ends[1:]) if last >= end))
    return tuple(sorted(position for position in positions if position >= 0))


def _spans(rule: Rule, text: str) -> list[tuple[int, int]]:
    if rule.kind != "matches":
        return [match.span() for match in re.finditer(re.escape(rule.text), text)]
    try:
        return expressions.every(rule.text, text)
    except expressions.TooSlow as error:
        raise UsageError(f"the regular expression of {rule} {error}", 'make it simpler: "/[.?!]/"') from error


def nothing_found(rule: Rule, texts: Iterable[Sequence[str]]) -> UsageError:
    """What to say where a rule means no position in any of these texts, each given by its tokens."""
    texts = list(texts)
    counted = Counter(token for tokens in texts for token in set(tokens))
    where = f"the rule {rule} matches no position in the {len(texts):,} texts"
    sought = rule.text.strip().lower()
    same = [token for token in counted if sought and token.strip().lower() == sought]
    spelt = same or get_close_matches(rule.text, counted, 1, cutoff=0.5)
    if rule.kind == "matches" or not spelt:
        common = " ".join(f'"{token}"' for token, _ in counted.most_common(5))
        return UsageError(where, f"tokens that many of them have: {common}")
    nearest = max(spelt, key=lambda token: counted[token])
    return UsageError(where, f'they have the token "{nearest}", in {counted[nearest]:,} of them')
