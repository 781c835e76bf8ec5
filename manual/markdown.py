"""Plain text as Markdown: escaped, with what one types set as code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from inspect import cleandoc
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"

#: What is set as code in the text of a help page: JSON in braces, options, placeholders, rows in angle brackets.
_CODE = re.compile(
    r"(?P<code>\{\"[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|\$\{[^}]*\}|(?<![\w-])--[a-z][a-z-]*|\b[A-Za-z0-9._-]+\.(?:jsonl?|wb|pt"
    r"|csv|gguf|safetensors|svg|png|txt|dot|yaml)\b|\b[a-z]+:[A-Z][A-Z:]*N?\b|\bL\d+/N\d+(?:@-?\d+)?)"
)
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def inline(text: str) -> str:
    """A text as Markdown on one line."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(code(part) if number % 2 else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts))


def code(text: str) -> str:
    """A text as code."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def cell(text: str) -> str:
    """A Markdown text in a cell of a table, where a bar would end it."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring, with a blank line after each. Lines that begin further right are kept apart."""
    for block in cleandoc(text).split("\n\n"):
        yield inline(block)
        yield ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of Markdown texts, with a blank line after it."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    yield from (f"| {' | '.join(map(cell, row))} |" for row in rows)
    yield ""


def fenced(language: str, lines: Iterable[str]) -> Iterator[str]:
    """A block of code, with a blank line after it."""
    yield from (f"```{language}", *lines, "```", "")


def page(lines: Iterable[str]) -> str:
    """The text of a page."""
    return "\n".join(lines).rstrip("\n") + "\n"
