"""Values of any struct, with a text in all that they say: every field is filled, by its type."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

S = TypeVar("S", bound=Struct)
_NUMBERS: dict[Any, Any] = {bool: True, int: 3, float: 0.125}


def filled(kind: type[S], text: str, **given: Any) -> S:
    """One of a kind: its fields as `given`, the others filled, tuples with two of what they hold."""
    hints = get_type_hints(kind)
    others = (name for name in kind.__struct_fields__ if name not in given)
    return kind(**given, **{name: _value(hints[name], text) for name in others})


def _value(hint: Any, text: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _value(next(each for each in args if each is not NoneType), text)
    if origin is Literal:
        return args[0]
    if origin is dict:
        return {_value(args[0], text): _value(args[1], text)}
    if origin is tuple:
        return (_value(args[0], text),) * 2 if args[-1] is ... else tuple(_value(each, text) for each in args)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return filled(hint, text)
    return _NUMBERS.get(hint, text)
