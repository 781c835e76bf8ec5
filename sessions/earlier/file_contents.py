"""An outline of a file of plain data whose keys no other reader knows.

Nested dictionaries are opened up to a depth. A long list of values of one kind becomes one row. A tensor is shown by
its shape, dtype, range and mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from sessions.results import FileEntry

#: The most rows of an outline, and how deep it follows dictionaries.
ROWS, DEPTH = 200, 6
#: The most characters shown of a text.
_TEXT = 60


def outline(contents: Any, rows: int = ROWS) -> tuple[tuple[FileEntry, ...], int]:
    """The first `rows` rows of the outline, and the number of rows left out."""
    entries = list(_entries("", contents, 0))
    return tuple(entries[:rows]), max(0, len(entries) - rows)


def _entries(key: str, value: Any, depth: int) -> Iterator[FileEntry]:
    if isinstance(value, Mapping) and value and depth < DEPTH and not _alike(list(value.values())):
        for name, inner in value.items():
            yield from _entries(f"{key}.{_shown(name)}" if key else _shown(name), inner, depth + 1)
    elif isinstance(value, Mapping):
        yield FileEntry(key=key, kind=f"dictionary of {len(value):,}", about=_of_several(value))
    elif isinstance(value, list | tuple | set | frozenset):
        yield FileEntry(key=key, kind=f"{type(value).__name__} of {len(value):,}", about=_of_several(value))
    else:
        yield FileEntry(key=key, kind=_kind(value), about=_about(value))


def _alike(values: Sequence[Any]) -> bool:
    """Whether these are more than eight values of one kind, such as one tensor a layer, which one row shows."""
    return len(values) > 8 and len({_sort(value) for value in values}) == 1


def _sort(value: Any) -> Any:
    return ("tensor", value.ndim, value.dtype) if isinstance(value, Tensor) else type(value)


def _of_several(value: Any) -> str:
    """Describe the items of a list or a dictionary."""
    items = list(value.values() if isinstance(value, Mapping) else value)
    keys = f"keys {', '.join(map(_shown, list(value)[:3]))}, … · " if isinstance(value, Mapping) and value else ""
    if items and all(isinstance(item, Tensor) for item in items):
        shapes = list(dict.fromkeys(str(list(item.shape)) for item in items))
        return f"{keys}tensors {' '.join(shapes[:3])}{' …' if len(shapes) > 3 else ''} {_dtype(items[0])}"
    return f"{keys}{', '.join(_about(item) for item in items[:4])}{', …' if len(items) > 4 else ''}"


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
        return f"({', '.join(_shown(item) for item in value[:4])}{', …' if len(value) > 4 else ''})"
    return _shown(value)


def _range(value: Tensor) -> str:
    if not value.numel() or value.is_complex():
        return "empty" if not value.numel() else "complex"
    if value.is_sparse or value.is_meta or value.is_quantized:
        return "without numbers that can be shown"
    numbers = value.detach().double().flatten()
    finite = numbers[numbers.isfinite()]
    lost = value.numel() - finite.numel()
    parts = []
    if len(finite):
        parts.append(f"{float(finite.min()):.4g} to {float(finite.max()):.4g}, mean {float(finite.mean()):.4g}")
    if lost:
        parts.append(f"{lost:,} not finite")
    return ", ".join(parts)


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)}"
    text = str(value) if isinstance(value, str | int | bool) or value is None else type(value).__name__
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"
