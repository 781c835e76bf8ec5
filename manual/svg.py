"""Drawings that Rich and Textual export, made fit for the manual: no fonts from elsewhere, and their text for tests."""

from __future__ import annotations

import re
from html import unescape

_FONTS = "Menlo, 'DejaVu Sans Mono', Consolas, monospace"
_TEXT = re.compile(r'<text [^>]*?\bx="(?P<x>[\d.]+)"[^>]*?\by="(?P<y>[\d.]+)"[^>]*>(?P<text>[^<]*)</text>')


def self_contained(svg: str) -> str:
    """The drawing without fonts that a reader's browser would fetch."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: Fira Code, monospace", f"font-family: {_FONTS}", svg)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def text_of(svg: str) -> str:
    """What is written in a drawing, line by line from the top, without the blanks between."""
    lines: dict[float, list[tuple[float, str]]] = {}
    for match in _TEXT.finditer(svg):
        text = unescape(match["text"]).replace("\xa0", " ").strip()
        if text:
            lines.setdefault(float(match["y"]), []).append((float(match["x"]), text))
    return "\n".join(" ".join(text for _, text in sorted(line)) for _, line in sorted(lines.items()))
