"""What the verbs of saved things and of files return."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.circuits.circuit import Circuit
from sessions.events import Value
from sessions.store import ListingRow


class Saved(Value, frozen=True, kw_only=True):
    """`save`: the name, and the file behind it."""

    name: str
    path: str


class Loaded(Value, frozen=True, kw_only=True):
    """`load`: the circuit, now the session's."""

    table: ClassVar[str] = "circuit.neurons"
    name: str
    circuit: Circuit


class Listed(Value, frozen=True, kw_only=True):
    """`list`: everything saved under this home."""

    rows: tuple[ListingRow, ...]


class Deleted(Value, frozen=True, kw_only=True):
    """`delete`: what is gone, and the line that brings it back."""

    name: str
    restore: str


class Exported(Value, frozen=True, kw_only=True):
    """`export`: the file written."""

    path: str
    format: str


class FileEntry(Struct, frozen=True, kw_only=True):
    """One thing in a file of plain data: where it is, what it is, and what there is to say of it."""

    key: str
    kind: str
    about: str


class FileShown(Value, frozen=True, kw_only=True):
    """`import` of a file that is data and nothing that is kept: what is in it. `left` rows more are not shown."""

    table: ClassVar[str] = "entries"
    path: str
    entries: tuple[FileEntry, ...]
    left: int = 0


class ModelExported(Value, frozen=True, kw_only=True):
    """`export FOLDER --model`: the folder, the fingerprint of what is in it, and the edits that are in its weights.

    `reopened` says that it was opened again and had the same weights and logits to the bit.
    """

    path: str
    fingerprint: str
    dtype: str
    bytes: int
    edits: tuple[str, ...]
    reopened: bool


class Fingerprints(Value, frozen=True, kw_only=True):
    """`fingerprint`: of the open model, and the sha256 of saved files by name.

    `fingerprint` is the checkpoint's, `weights` the sha256 over every bit in memory, `unedited` the same with `edits`
    off, "" where none is on. `path` is the list that was written, "" for none. Without a model, or where artifacts were
    named, all that is said of it is empty.
    """

    model: str
    fingerprint: str
    weights: str
    unedited: str
    edits: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    path: str = ""


class FilesVerified(Value, frozen=True, kw_only=True):
    """`verify-files`: the files of a list, all of which have the sha256 that it says."""

    path: str
    files: tuple[str, ...]


class Imported(Value, frozen=True, kw_only=True):
    """`import`: the circuit read, now the session's."""

    table: ClassVar[str] = "circuit.neurons"
    path: str
    circuit: Circuit
