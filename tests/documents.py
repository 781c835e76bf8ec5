"""The pages of the manual and the README: their blocks of code, each with its language, its title and its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
#: Written by makers, from declarations and runs that tests of their own prove.
MADE = (ROOT / "docs" / "reference", ROOT / "docs" / "cookbook")
_BY_HAND = ("words.md", "files.md", "index.md")
_FENCE = re.compile(r'^ *```(?P<language>[\w-]*)(?: title="(?P<title>[^"]*)")?\n(?P<body>.*?)^ *```$', re.M | re.S)


@dataclass(frozen=True)
class CodeBlock:
    """A block of code of a page, with the number of its first line."""

    page: str
    line: int
    language: str
    title: str
    body: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> dict[str, Path]:
    """The README and the pages that are written by hand, by their paths in the repository."""
    found = [README, *sorted((ROOT / "docs").rglob("*.md"))]
    return {
        str(path.relative_to(ROOT)): path
        for path in found
        if not any(folder in path.parents for folder in MADE) or path.name in _BY_HAND
    }


def blocks(page: str, language: str = "") -> list[CodeBlock]:
    """The blocks of a page, those of one language if it is named."""
    text = pages()[page].read_text("utf-8")
    found = [
        CodeBlock(page, text.count("\n", 0, match.start()) + 2, match["language"], match["title"] or "", match["body"])
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if not language or block.language == language]
