"""What is in a file of plain data, whatever its keys: an outline, for files that nothing here has another use for.

Dictionaries are followed into their depth, lists of like things are one row, and a tensor is its shape, dtype, range
and mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from sessions.results import FileEntry

#: Rows of an outline at most, and how deep dictionaries are followed.
ROWS, DEPTH = 200, 6
#: Characters of a text that are shown.
_TEXT = 60


def outline(held: Any, rows: int = ROWS) -> tuple[tuple[FileEntry, ...], int]:
    """The first rows of an outline, and how many more there are."""
    found = list(_entries("", held, 0))
    return tuple(found[:rows]), max(0, len(found) - rows)


def _entries(key: str, value: Any, depth: int) -> Iterator[FileEntry]:
    if isinstance(value, Mapping) and value and depth < DEPTH and not _alike(list(value.values())):
        for name, each in value.items():
            yield from _entries(f"{key}.{_shown(name)}" if key else _shown(name), each, depth + 1)
    elif isinstance(value, Mapping):
        yield FileEntry(key=key, kind=f"dictionary of {len(value):,}", about=_of_several(value))
    elif isinstance(value, list | tuple | set | frozenset):
        yield FileEntry(key=key, kind=f"{type(value).__name__} of {len(value):,}", about=_of_several(value))
    else:
        yield FileEntry(key=key, kind=_kind(value), about=_about(value))


def _alike(values: Sequence[Any]) -> bool:
    """Whether these are many things of one kind, which one row says: the layers of something."""
    return len(values) > 8 and len({_sort(each) for each in values}) == 1


def _sort(value: Any) -> Any:
    return ("tensor", value.ndim, value.dtype) if isinstance(value, Tensor) else type(value)


def _of_several(value: Any) -> str:
    """What the things in a list or a dictionary are."""
    each = list(value.values() if isinstance(value, Mapping) else value)
    keys = f"keys {', '.join(map(_shown, list(value)[:3]))}, … · " if isinstance(value, Mapping) and value else ""
    if each and all(isinstance(one, Tensor) for one in each):
        shapes = list(dict.fromkeys(str(list(one.shape)) for one in each))
        return f"{keys}tensors {' '.join(shapes[:3])}{' …' if len(shapes) > 3 else ''} {_dtype(each[0])}"
    return f"{keys}{', '.join(_about(one) for one in each[:4])}{', …' if len(each) > 4 else ''}"


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)} {_dtype(value)}"
    kinds = {bool: "true or false", int: "number", float: "number", str: "text", type(None): "nothing"}
    return kinds.get(type(value), type(value).__name__)


def _about(value: Any) -> str:
    if isinstance(value, Tensor):
        return _range(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(map(_shown, list(value)[:6]))}{', …' if len(value) > 6 else ''}}}"
    if isinstance(value, list | tuple):
        return f"({', '.join(_shown(each) for each in value[:4])}{', …' if len(value) > 4 else ''})"
    return _shown(value)


def _range(value: Tensor) -> str:
    if not value.numel() or value.is_complex():
        return "empty" if not value.numel() else "complex"
    if value.is_sparse or value.is_meta or value.is_quantized:
        return "without numbers that can be shown"
    numbers = value.detach().double().flatten()
    finite = numbers[numbers.isfinite()]
    lost = value.numel() - finite.numel()
    said = (
        [f"{float(finite.min()):.4g} to {float(finite.max()):.4g}, mean {float(finite.mean()):.4g}"]
        if len(finite)
        else []
    )
    return ", ".join([*said, *([f"{lost:,} not finite"] if lost else [])])


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)}"
    text = str(value) if isinstance(value, str | int | bool) or value is None else type(value).__name__
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"
