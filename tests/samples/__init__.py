"""Samples of every kind of result: a file for each family of verbs, `samples(text)` with `text` in all that is said.

The files are found here by themselves. A sample says what matters of it, and `filled` the rest; a kind of result that
no file has a sample of gets one that is filled.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar, get_args, get_origin

from msgspec import Struct, structs

from sessions import results
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
S = TypeVar("S", bound=Struct)
_NUMBERS = {bool: True, int: 1205, float: 0.125}


def samples(text: str) -> list[Value]:
    """Results of every kind, several of some, with `text` in all that they say."""
    families = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    told = [value for family in families for value in family.samples(text)]
    others = kinds() - {type(value) for value in told}
    return [*told, *(filled(kind, text) for kind in sorted(others, key=lambda kind: kind.__name__))]


def kinds(of: type[Value] = Value) -> set[type[Value]]:
    """What a command can return: the kinds of value that no other kind builds on."""
    direct = of.__subclasses__()
    leaves = {leaf for kind in direct for leaf in kinds(kind)} if direct else {of}
    return {leaf for leaf in leaves if leaf.__module__.startswith(results.__name__)}


def filled(kind: type[S], text: str, /, **known: Any) -> S:
    """A struct with `known` fields. Of the others, those that have no default are filled: with `text` where they say
    something, with numbers, two of what there can be many of, and structs of such fields."""
    missing = (field for field in structs.fields(kind) if field.required and field.name not in known)
    return kind(**{field.name: _filled(field.type, text) for field in missing}, **known)


def _filled(kind: Any, text: str) -> Any:
    if kind is str:
        return text
    if kind in _NUMBERS:
        return _NUMBERS[kind]
    if isinstance(kind, type) and issubclass(kind, Struct):
        return filled(kind, text)
    of = get_args(kind)
    if get_origin(kind) is tuple:
        return tuple(_filled(each, text) for each in (of[:1] * 2 if of[-1] is ... else of))
    if get_origin(kind) is dict:
        return {text: _filled(of[1], text)}
    return _filled(of[0], text)  # of several kinds the first
