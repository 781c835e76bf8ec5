"""The `repr` of a result: its kind and its fields, in a few hundred characters at most.

A result holds whole prompts, distributions and weights of thousands of neurons. A notebook or a traceback needs to know
which result it is; its fields and `to_json` have all of it.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from msgspec import Struct

#: Characters of the whole, and of one field.
LONGEST, _FIELD = 300, 60


def short_repr(value: Struct) -> str:
    """`Discovered(circuit=Circuit(200), candidates=1935360)`. Fields at their defaults are left out; notes come
    last."""
    defaults = dict(zip(reversed(value.__struct_fields__), reversed(value.__struct_defaults__), strict=False))
    missing = object()
    fields = [
        f"{name}={_short(value_)}"
        for name in sorted(value.__struct_fields__, key=lambda name: name == "notes")
        if (value_ := getattr(value, name)) is not None and value_ != defaults.get(name, missing)
    ]
    return _cut(f"{type(value).__name__}({', '.join(fields)}", LONGEST - 1) + ")"


def _short(value: Any) -> str:
    """One field: numbers and short texts as they are, everything else as its kind and length."""
    if isinstance(value, Struct):
        return f"{type(value).__name__}({len(value) if isinstance(value, Sized) else '…'})"
    if isinstance(value, tuple | list | dict):
        whole = repr(value) if all(isinstance(item, str | int | float | None) for item in value) else ""
        return whole if whole and len(whole) <= _FIELD else f"<{len(value)} {_kinds(value)}>"
    return _cut(repr(value), _FIELD)


def _kinds(value: tuple[Any, ...] | list[Any] | dict[Any, Any]) -> str:
    """The type of a collection's members, or "items"."""
    kinds = {type(item).__name__ for item in (value.values() if isinstance(value, dict) else value)}
    return kinds.pop() if len(kinds) == 1 else "items"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
