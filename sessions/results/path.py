"""Paths to a part of a result, as `expect` takes them: `rows[0].effect`, `kept@50`, `arms[-1].text`.

A path leads step by step from a result to a number or a text:

    .name       a field of a struct, as in its JSON, or a property computed from its fields (`accuracy`)
    .rows       the main table of a result, whatever its field is called (`Value.table` names it)
    .name@KEY   `name` of the row KEY of that table: `kept@50`, `accuracy@base`, `effect@L24/N1005`
    [2] [-1]    an item of a list, from 0, or from the end
    [KEY]       the row of a list, or the value of a mapping, with that name
    .count      how many items a list has

A row is named by its fields in `KEYS`. A row about one neuron also has the fields of that neuron.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from msgspec import Struct

from sessions.errors import UsageError
from sessions.events import Value
from sessions.model.units import Unit

#: Fields that can name a row, tried in this order.
KEYS = ("name", "size", "number", "layer", "multiplier", "alpha", "epoch", "language", "token", "text", "key", "neuron")

_STEP = re.compile(r"\.(?P<name>[A-Za-z_]\w*)(?:@(?P<row>[^\[\]]+?)(?=$|\[|\.(?=[A-Za-z_])))?|\[(?P<key>[^\[\]]+)\]")


def steps_of(path: str) -> list[re.Match[str]]:
    """The steps of a path, which begins with `.` or `[`, or is empty.

    Raises:
        UsageError: the text is not a path.
    """
    steps, at = [], 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise UsageError(
                f"'{path[at:]}' does not name a part of a result", "for example: result.rows[0].effect, or kept@50"
            )
        steps.append(step)
        at = step.end()
    return steps


def part_at(start: Any, path: str, name: str) -> Any:
    """The part of `start` that a path leads to. Messages call `start` by `name`.

    Raises:
        UsageError: there is no such part. The hint has the nearest name, or all of them.
    """
    part = start
    for step in steps_of(path):
        if step["key"] is not None:
            part = _item(part, step["key"], name)
        elif step["row"] is not None:
            part = _named(_row(_table(part, name), step["row"], name), step["name"], f"{name}@{step['row']}")
        else:
            part = _named(part, step["name"], name)
        name += step[0]
    return part


def names_in(part: Any) -> list[str]:
    """The names that can follow a part: its fields and properties, and those of its `rows`."""
    if isinstance(part, list | tuple):
        return ["count"]
    if not isinstance(part, Struct):
        return []
    return names_of(type(part))


def names_of(kind: type[Struct]) -> list[str]:
    """The names that a struct of this kind has."""
    read_off = [name for base in kind.__mro__ for name, thing in vars(base).items() if isinstance(thing, property)]
    fields = [name for name in kind.__struct_fields__ if name != "notes"]
    rows = ["rows"] if issubclass(kind, Value) and kind.table != "rows" else []
    return list(dict.fromkeys((*fields, *read_off, *rows)))


def _named(part: Any, wanted: str, name: str) -> Any:
    if isinstance(part, list | tuple) and wanted == "count":
        return len(part)
    names = names_in(part)
    if wanted in names:
        if wanted == "rows" and isinstance(part, Value):
            return _table(part, name)
        return getattr(part, wanted)
    neuron = getattr(part, "neuron", None)
    if isinstance(neuron, Unit) and wanted in names_in(neuron):
        return getattr(neuron, wanted)
    raise UsageError(f"{name} has no '{wanted}'", _nearest(wanted, names, name))


def _table(part: Any, name: str) -> tuple[Any, ...]:
    """The rows of a result's main table; of a list, its items."""
    if isinstance(part, list | tuple):
        return tuple(part)
    if not _has_table(part):
        raise UsageError(f"{name} has no rows", _nearest("rows", names_in(part), name))
    for field in part.table.split("."):
        part = getattr(part, field)
    return tuple(part)


def _has_table(part: Any) -> bool:
    return isinstance(part, Value) and "rows" in names_in(part)


def _item(part: Any, key: str, name: str) -> Any:
    if _has_table(part):
        part = _table(part, name)
    if isinstance(part, Mapping):
        if key not in part:
            raise UsageError(f"{name} has no entry '{key}'", _nearest(key, list(map(str, part)), name))
        return part[key]
    if not isinstance(part, list | tuple):
        raise UsageError(f"{name} is not a list", f"its parts: {', '.join(names_in(part))}" if names_in(part) else "")
    if re.fullmatch(r"-?\d{1,9}", key):
        number = int(key)
        if -len(part) <= number < len(part):
            return part[number]
        raise UsageError(f"{name} has no item {number}", f"it has {len(part):,} items, counted from 0")
    return _row(part, key, name)


def _row(rows: Iterable[Any], key: str, name: str) -> Any:
    """The first row with the name `key`."""
    rows = tuple(rows)
    for row in rows:
        if key in called(row):
            return row
    known = list(dict.fromkeys(names[0] for row in rows if (names := called(row))))
    raise UsageError(f"{name} has no row '{key}'", _nearest(key, known, name))


def called(row: Any) -> list[str]:
    """The names of a row."""
    if isinstance(row, Unit):
        return list(dict.fromkeys((str(row), f"L{row.layer}/N{row.index}")))
    names = []
    for field in KEYS:
        value = getattr(row, field, None)
        if isinstance(value, Struct):  # a token, or a neuron
            names += called(value)
        elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
            names.append(value if isinstance(value, str) else f"{value:g}")
    return names


def _nearest(wanted: str, names: list[str], name: str) -> str:
    near = get_close_matches(wanted, names, 1) or [name for name in names if name.startswith(wanted)]
    if near:
        return f"did you mean {near[0]}?"
    return f"its parts: {', '.join(names[:20])}" if names else f"{name} has no parts"
