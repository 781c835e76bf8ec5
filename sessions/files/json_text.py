"""JSON for people: errors say line and column, and what fits on a line is written on one line."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, astuple

from sessions.cancel import look
from sessions.errors import ArtifactError

T = TypeVar("T")

#: Columns that `readable` fills before it breaks a line.
WIDTH = 120
_BYTE = re.compile(r"\(byte (\d+)\)")


def decoded(data: bytes, shape: type[T], source: str) -> T:
    """JSON bytes as a `shape`.

    Raises:
        ArtifactError: they are not UTF-8, not JSON (with line and column) or of another shape (with
            the path into the JSON). `source` is how the message names the file.
    """
    try:
        data.decode()
        return msgspec.json.decode(data, type=shape)
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{source} is not UTF-8 text: {place(data, error.start)}") from error
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{source} is malformed: {error}") from error
    except msgspec.DecodeError as error:
        where = _BYTE.search(str(error))
        at = place(data, int(where[1]) if where else len(data))
        reason = "it ends too early" if where is None else str(error)[: where.start()].strip()
        raise ArtifactError(f"{source} is malformed at {at}: {reason.removeprefix('JSON is malformed: ')}") from error
    except RecursionError as error:
        raise ArtifactError(f"{source} is malformed: it is nested too deeply") from error


def foreign(data: bytes, source: str) -> Any:
    """JSON from another program: a byte order mark is skipped, and no object may have a key twice.

    Raises:
        ArtifactError: it is not UTF-8, not JSON (with line and column), has a key twice, or a number beyond 64 bits.
    """
    try:
        return json.loads(without_mark(data).decode(), object_pairs_hook=_distinct, parse_int=_whole)
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{source} is not UTF-8 text: {place(without_mark(data), error.start)}") from error
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise ArtifactError(f"{source} is malformed at {at}: {error.msg}") from error
    except _Repeated as error:
        raise ArtifactError(f"{source} has the key {error.key!r} twice in one object") from error
    except RecursionError as error:
        raise ArtifactError(f"{source} is malformed: it is nested too deeply") from error
    except ValueError as error:
        raise ArtifactError(f"{source} has a number of more than 64 bits") from error


def without_mark(data: bytes) -> bytes:
    """The bytes without the byte order mark that some editors write first."""
    return data.removeprefix(codecs.BOM_UTF8)


def named(value: Any) -> str:
    """The type of a JSON value, in words."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


#: Digits of the largest number that has 64 bits.
_DIGITS = 20


def _whole(text: str) -> int:
    """A whole number that fits into 64 bits."""
    number = int(text) if len(text) <= _DIGITS else 2**64
    if not -(2**63) <= number < 2**64:
        raise ValueError("it has more than 64 bits")
    return number


class _Repeated(Exception):
    """A JSON object has a key twice: one of the two values would be lost silently."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _Repeated(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return fields


def place(data: bytes, at: int) -> str:
    """Where byte `at` is, for a person: "line 3, column 5", both counted from 1, columns in characters."""
    start = data.rfind(b"\n", 0, at) + 1
    line, column = data.count(b"\n", 0, at) + 1, len(data[start:at].decode(errors="replace")) + 1
    return f"line {line}, column {column}"


def readable(value: Any, what: str) -> bytes:
    """JSON laid out for people: what fits on a line is on one line, such as a neuron.

    Args:
        value: dicts, sequences, strings and numbers, as `msgspec.to_builtins` gives them.
        what: how an error names the value.

    Raises:
        ArtifactError: JSON cannot hold it: a number is not finite, or a text is not valid Unicode.
    """
    wrong = infinite(value)
    if wrong:
        raise ArtifactError(f"{what} holds a number that JSON cannot hold: {wrong}")
    try:
        return _laid_out(value, 0).encode() + b"\n"
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{what} holds text that is not valid Unicode: {ascii(error.object)[:60]}") from error


def escaped(value: Any) -> Any:
    """The value with each lone surrogate in its texts written as an escape sequence."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {escaped(key): escaped(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [escaped(item) for item in value]
    return value


def infinite(value: Any) -> str:
    """Where a value holds a number that is not finite, such as `rows[2].effect is nan`; "" if all numbers are finite.

    Args:
        value: structs, dicts, sequences, strings and numbers.
    """
    waiting: list[Iterable[Any]] = [[value]]
    while waiting:
        look()
        for member in waiting.pop():
            if isinstance(member, float):
                if not math.isfinite(member):
                    return _path_to_infinite(value, "")
            elif member is not None and not isinstance(member, str | int):
                waiting.append(_members(member))
    return ""


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, Struct):
        return astuple(value)
    return value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()


def _path_to_infinite(value: Any, path: str) -> str:
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"{path or 'it'} is {value}"
    known = asdict(value) if isinstance(value, Struct) else value
    if isinstance(known, dict):
        inside = [(f"{path}.{name}" if path else str(name), inner) for name, inner in known.items()]
    else:
        inside = [(f"{path}[{index}]", inner) for index, inner in enumerate(_members(known))]
    return next(filter(None, (_path_to_infinite(inner, name) for name, inner in inside)), "")


def _laid_out(value: Any, indent: int, room: int = WIDTH) -> str:
    """JSON laid out so that its first line fits into `room` columns; the other lines are indented."""
    look()
    flat = msgspec.json.encode(value).decode()
    if len(flat) <= room or not isinstance(value, dict | list | tuple):
        return flat
    pad, room = " " * (indent + 1), WIDTH - indent - len(" ,")
    if isinstance(value, dict):
        keys = [msgspec.json.encode(key).decode() + ": " for key in value]
        inner = [
            key + _laid_out(inner_value, indent + 1, room - len(key))
            for key, inner_value in zip(keys, value.values(), strict=True)
        ]
        return "{\n" + ",\n".join(pad + line for line in inner) + "\n" + pad[1:] + "}"
    inner = [_laid_out(item, indent + 1, room) for item in value]
    if not any(isinstance(item, dict | list | tuple) for item in value):
        inner = _filled(inner, room)
    return "[\n" + ",\n".join(pad + line for line in inner) + "\n" + pad[1:] + "]"


def _filled(words: list[str], width: int) -> list[str]:
    """Words joined by commas into lines of at most `width` characters, a longer word alone on its line."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(",") + len(word) <= width:
            lines[-1] += "," + word
        else:
            lines.append(word)
    return lines
