"""Safetensors files as bytes, written and read without torch: a header with texts, then the numbers.

    8 bytes, the header's length | JSON: {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {…}} | the numbers

Nothing in such a file can run. Files may come from strangers: every length in the header is checked against the bytes
of the file, and the tensors must fill these without gaps or overlaps, as the format demands.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from sessions.cancel import look
from sessions.errors import ArtifactError
from sessions.files.disk import LARGEST, reading
from sessions.files.json_text import decoded

#: The dtypes that are read, and the bytes of one number of each.
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
_METADATA = "__metadata__"
_LENGTH = 8


class TensorBytes(Struct, frozen=True):
    """One tensor: its dtype by the format's own name ("F32"), its shape, and its numbers as little-endian bytes, or a
    view of them."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Tensors(Struct, frozen=True):
    """The contents of a file: texts by name, and tensors by name."""

    fields: dict[str, str]
    tensors: dict[str, TensorBytes]


class _Entry(Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class _Texts(Struct, frozen=True):
    texts: dict[str, str] = msgspec.field(name=_METADATA, default_factory=dict)


def pieces(contents: Tensors) -> list[bytes]:
    """The bytes of a file, in pieces. Same contents, same bytes."""
    header: dict[str, Any] = {_METADATA: contents.fields}
    end = 0
    for name, tensor in sorted(contents.tensors.items()):
        begin, end = end, end + len(tensor.data)
        header[name] = _Entry(tensor.dtype, tensor.shape, (begin, end))
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of eight
    numbers = (tensor.data for _, tensor in sorted(contents.tensors.items()))
    return [len(text).to_bytes(_LENGTH, "little"), text, *numbers]


def written(contents: Tensors) -> bytes:
    """The bytes of a file in one."""
    return b"".join(pieces(contents))


def read(data: bytes, source: str) -> Tensors:
    """The contents of a file's bytes.

    Raises:
        ArtifactError: it is not a safetensors file, or a damaged one. `source` is how the message names it.
    """
    length = _header_length(data[:_LENGTH], len(data), source)
    numbers = memoryview(data)[_LENGTH + length :]
    fields, entries = _read_header(data[_LENGTH : _LENGTH + length], len(numbers), source)
    tensors = {
        name: TensorBytes(entry.dtype, entry.shape, bytes(numbers[slice(*entry.data_offsets)]))
        for name, entry in entries.items()
    }
    return Tensors(fields, tensors)


def texts_of(path: Path) -> dict[str, str]:
    """The texts of a file, without reading its numbers; none if it cannot be read or is not a safetensors file."""
    try:
        with reading(path) as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            if length > min(path.stat().st_size, LARGEST):
                return {}
            header = msgspec.json.decode(file.read(length), type=_Texts)
    except (OSError, ArtifactError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return header.texts


def checked_texts(path: Path) -> dict[str, str]:
    """As `texts_of`, but with an error that says what is wrong with a file.

    Raises:
        ArtifactError: it cannot be read, is not a safetensors file, or its numbers are not where its header says.
    """
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = _header_length(file.read(_LENGTH), size, str(path))
        return _read_header(file.read(length), size - _LENGTH - length, str(path))[0]


def _header_length(data: bytes, size: int, source: str) -> int:
    """The length of the header, from the first bytes of a file of `size` bytes."""
    length = int.from_bytes(data, "little")
    if size < _LENGTH + length:
        raise ArtifactError(f"{source} is not a safetensors file, or it ends too early")
    return length


def _read_header(data: bytes, size: int, source: str) -> tuple[dict[str, str], dict[str, _Entry]]:
    """Texts, and where each tensor is among `size` bytes of numbers."""
    header = decoded(data, dict[str, Raw], f"the header of {source}")
    fields = decoded(bytes(header.pop(_METADATA, Raw(b"{}"))), dict[str, str], f"the metadata of {source}")
    entries = {name: decoded(bytes(raw), _Entry, f"'{name}' of {source}") for name, raw in header.items()}
    _check_places(entries, size, source)
    return fields, entries


def digest(fields: Mapping[str, str], tensors: Mapping[str, TensorBytes]) -> str:
    """The sha256 of texts and tensors in the order of their names, whatever their order in a file."""
    hashed = hashlib.sha256(msgspec.json.encode(fields, order="sorted"))
    for name, tensor in sorted(tensors.items()):
        look()
        hashed.update(msgspec.json.encode([name, tensor.dtype, tensor.shape]))
        hashed.update(tensor.data)
    return hashed.hexdigest()


def _check_places(entries: Mapping[str, _Entry], size: int, source: str) -> None:
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if entry.dtype not in SIZES:
            raise ArtifactError(f"'{name}' of {source} has the dtype '{entry.dtype}', which is not supported")
        if min(entry.shape, default=0) < 0:
            raise ArtifactError(f"'{name}' of {source} has the invalid shape {list(entry.shape)}")
        begin, after = entry.data_offsets
        if begin != end or after - begin != math.prod(entry.shape) * SIZES[entry.dtype]:
            raise ArtifactError(f"'{name}' of {source} is not where its header says: the file is damaged")
        end = after
    if end != size:
        raise ArtifactError(f"{source} has {size:,} bytes of numbers, but its header lists {end:,}")
