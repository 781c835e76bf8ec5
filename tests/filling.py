"""Values of any struct, with a text in all that they say: every field by its type."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Struct, structs

S = TypeVar("S", bound=Struct)
_NUMBERS: dict[Any, Any] = {bool: True, int: 3, float: 0.125}


def filled(kind: type[S], text: str, **given: Any) -> S:
    """One of a kind: its fields as `given`, the others filled, tuples with two of what they hold."""
    hints = get_type_hints(kind)
    others = (name for name in kind.__struct_fields__ if name not in given)
    return kind(**given, **{name: _value(hints[name], text, 2) for name in others})


def bare(kind: type[S], text: str, **given: Any) -> S:
    """One of a kind of which little is known: what can be left out is, tuples are empty, and numbers are 0."""
    hints = get_type_hints(kind)
    fields = (each for each in structs.fields(kind) if each.name not in given)
    needed = (each.name for each in fields if each.default is NODEFAULT and each.default_factory is NODEFAULT)
    return kind(**given, **{name: _value(hints[name], text, 0) for name in needed})


def _value(hint: Any, text: str, count: int) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if not count and NoneType in args:
            return None
        return _value(next(each for each in args if each is not NoneType), text, count)
    if origin is Literal:
        return args[0]
    if origin is dict:
        return {_value(args[0], text, count): _value(args[1], text, count)} if count else {}
    if origin is tuple:
        if args[-1] is ...:
            return (_value(args[0], text, count),) * count
        return tuple(_value(each, text, count) for each in args)
    if isinstance(hint, type) and issubclass(hint, tuple):  # one with names
        return hint(*(_value(each, text, count) for each in get_type_hints(hint).values()))
    if isinstance(hint, type) and issubclass(hint, Struct):
        return (filled if count else bare)(hint, text)
    if hasattr(hint, "_fields"):  # a named tuple
        return hint(*(_value(each, text, count) for each in get_type_hints(hint).values()))
    return hint(count and _NUMBERS[hint]) if hint in _NUMBERS else text
