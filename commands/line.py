"""A line as words: quotes, comments, and where each word stands.

    discover " Austin" --top 50      # a comment
    prompt What's the capital of Texas?

A quote opens only at the start of a word or right after `--option=`, so apostrophes inside words
need no care. Between double quotes, `\\"`, `\\\\`, `\\n` and `\\t` are escapes; between single quotes
everything stands for itself. A `#` at the start of a word begins a comment.
"""

from __future__ import annotations

import re

from msgspec import Struct

from sessions.errors import UsageError

_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}
_OPTION = re.compile(r"--[A-Za-z][A-Za-z-]*=")


class Word(Struct, frozen=True):
    """A word of a line: its text without quotes, the columns it spans, whether it began with a quote."""

    text: str
    start: int
    end: int
    quoted: bool


def words(line: str, *, unfinished: bool = False) -> tuple[Word, ...]:
    """The words of a line. With `unfinished`, an open quote reaches to the end instead of failing.

    Raises:
        UsageError: a quote is not closed; `column` is where it was opened.
    """
    found = []
    at = 0
    while True:
        while at < len(line) and line[at].isspace():
            at += 1
        if at == len(line) or line[at] == "#":
            return tuple(found)
        found.append(_word(line, at, unfinished))
        at = found[-1].end


def _word(line: str, start: int, unfinished: bool) -> Word:
    option = _OPTION.match(line, start)
    at = option.end() if option else start
    text = line[start:at]
    if at == len(line) or line[at] not in "\"'":
        while at < len(line) and not line[at].isspace():
            text, at = text + line[at], at + 1
        return Word(text, start, at, False)
    inside, at = _quoted(line, at, unfinished)
    if at < len(line) and not line[at].isspace():
        raise UsageError("something follows a closing quote without a space", "put a space after it", at)
    return Word(text + inside, start, at, option is None)


def _quoted(line: str, start: int, unfinished: bool) -> tuple[str, int]:
    quote, at, text = line[start], start + 1, ""
    while at < len(line):
        if line[at] == quote:
            return text, at + 1
        if quote == '"' and line[at] == "\\" and line[at + 1 : at + 2] in _ESCAPES:
            text, at = text + _ESCAPES[line[at + 1]], at + 2
        else:
            text, at = text + line[at], at + 1
    if unfinished:
        return text, at
    raise UsageError(f"the quote at column {start + 1} is not closed", f"end it with {quote}", start)


def is_blank(line: str) -> bool:
    """Whether a line holds no command: nothing, or only a comment."""
    stripped = line.lstrip()
    return not stripped or stripped.startswith("#")


def quoted(text: str) -> str:
    """The text as one word of a line, between quotes if it needs them."""
    plain = text and not any(c.isspace() for c in text) and text[0] not in "\"'#-"
    if plain and "\\" not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
