"""Samples of every kind of result, with `text` in all that they say.

A kind is filled by itself, and made with as little in it as can be (`tests.filling`). What it takes besides, fields
that hang together or the numbers that a test looks for, is in a file of its family, found here by itself, as
`samples(text)`; a kind that has samples there is not filled as well.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from sessions import results
from sessions.events import Value
from tests.filling import bare, filled

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


#: Kinds that cannot have nothing in them.
FULL = {
    results.AtlasBuilt, results.Compared, results.Faithfulness, results.Injected, results.InjectedByLayer,
    results.LensRead, results.Rewritten, results.RoundsCompared, results.SubspaceCut, results.SweptGrid,
}  # fmt: skip


def samples(text: str) -> list[Value]:
    """Results of every kind, several of some."""
    families = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    made = [value for family in families for value in family.samples(text)]
    missing = set(kinds()).difference(map(type, made))
    made += [filled(kind, text) for kind in kinds() if kind in missing]
    return made + [bare(kind, text) for kind in kinds() if kind not in FULL]


def kinds(kind: type[Value] = Value) -> list[type[Value]]:
    """What a command can return: the kinds of value that no other kind builds on."""
    direct = kind.__subclasses__()
    if not direct:
        return [kind] if kind.__module__.startswith(results.__name__) else []
    return [leaf for each in direct for leaf in kinds(each)]
