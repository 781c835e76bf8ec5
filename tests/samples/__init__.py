"""Samples of every kind of result: a file for each family of verbs, `samples(text)` with `text` in all that is said.

A new kind of result has its sample in its family's file; the files are found here by themselves.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from sessions.events import Value

#: Texts that models and users come up with.
NASTY = {
    "markup": "[/INST] [red]x[/red] :smile: [link=http://x]y[/link]",
    "escapes": "\x1b[2J\x1b]0;owned\x07\x9b31m\r\x08 after",
    "bidi": "abc \u202eevil\u2066 \u200bhidden\ufeff\u2028",
    "wide": "日本語のとても長い文章です 👨‍👩‍👧‍👦🏳️‍🌈 e\u0301 한국어 " * 3,
    "lines": "one\n\n\ttwo\r\nthree\n",
    "empty": "",
    "long": "word " * 60 + "x" * 300,
    "surrogate": "half \ud800 pair",
}


def samples(text: str) -> list[Value]:
    """Results of every kind, several of some, with `text` in all that they say."""
    families = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    return [value for family in families for value in family.samples(text)]
