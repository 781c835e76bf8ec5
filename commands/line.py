"""A line as words: quotes, comments, and where each word stands.

    discover " Austin" --top 50      # a comment
    prompt What's the capital of Texas?

A quote opens only at the start of a word or right after `--option=`, so apostrophes inside words
need no care. Between double quotes, `\\"`, `\\\\`, `\\n`, `\\r` and `\\t` are escapes; between single
quotes everything stands for itself. A `#` at the start of a word begins a comment; in the text of a verb that takes
words as they come (`prompt`, `seed`, `say`) only one with a blank behind it does, so that `prompt Who is #1 today?  # a
comment` asks for number one.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from msgspec import Struct

from sessions.errors import UsageError

#: A line has no more words; a text of more stands between quotes, or in a file.
MOST = 50_000
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r'\\(["\\nrt])')
_OPTION = re.compile(r"--[A-Za-z][A-Za-z-]*=")
_GAP = re.compile(r"\s*")
_PLAIN = re.compile(r"\S*")
#: What stands between quotes; possessive, so that an escaped quote is never given back to close the word.
_INSIDE = {'"': re.compile(r'(?:[^"\\]++|\\["\\nrt]|\\)*+'), "'": re.compile(r"[^']*+")}


class LineWord(Struct, frozen=True):
    """A word of a line: its text without quotes, the columns it spans, whether it began with a quote.

    `open` is set where a quote was not closed.
    """

    text: str
    start: int
    end: int
    quoted: bool
    open: bool = False


def words(line: str, *, unfinished: bool = False, texts: Collection[str] = ()) -> tuple[LineWord, ...]:
    """The words of a line. With `unfinished` nothing fails: an open quote reaches to the end.

    `texts` are the first words of lines whose other words are a text as it comes.

    Raises:
        UsageError: a quote is not closed, or something follows one that is; `column` says where.
    """
    parsed: list[LineWord] = []
    at = 0
    while True:
        at = _end(_GAP, line, at)
        text = bool(parsed) and parsed[0].text in texts
        if at == len(line) or (line[at] == "#" and not (text and _PLAIN.match(line, at + 1)[0])):  # type: ignore[index]
            return tuple(parsed)
        parsed.append(_word(line, at, unfinished))
        if len(parsed) > MOST and not unfinished:
            raise UsageError(
                f"the line has more than {MOST:,} words", "put quotes around a long text, so that it is one word", at
            )
        at = parsed[-1].end


def _word(line: str, start: int, unfinished: bool) -> LineWord:
    option = _OPTION.match(line, start)
    at = option.end() if option else start
    if line[at : at + 1] not in _INSIDE:
        end = _end(_PLAIN, line, at)
        return LineWord(line[start:end], start, end, False)
    quote, close = line[at], _end(_INSIDE[line[at]], line, at + 1)
    inside = line[at + 1 : close]
    text = line[start:at] + (_ESCAPE.sub(lambda match: _ESCAPES[match[1]], inside) if quote == '"' else inside)
    if close == len(line):
        if unfinished:
            return LineWord(text, start, close, option is None, open=True)
        raise UsageError(f"the quote at column {at + 1} is not closed", f"end it with {quote}", at)
    end = close + 1
    if not unfinished and end < len(line) and not line[end].isspace():
        raise UsageError("a closing quote is followed by text without a space", "put a space after it", end)
    return LineWord(text, start, end, option is None)


def _end(pattern: re.Pattern[str], line: str, at: int) -> int:
    match = pattern.match(line, at)
    assert match is not None  # all of these match nothing as well
    return match.end()


def is_blank(line: str) -> bool:
    """Whether a line holds no command: nothing, or only a comment."""
    stripped = line.lstrip()
    return not stripped or stripped.startswith("#")


def is_text(text: str) -> bool:
    """Whether it is Unicode throughout: bytes that a terminal could not decode arrive as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
