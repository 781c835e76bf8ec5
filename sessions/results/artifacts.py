"""Results of the verbs that save, load, export and import."""

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
    """`load`: the circuit that the session now has."""

    table: ClassVar[str] = "circuit.neurons"
    name: str
    circuit: Circuit


class Listed(Value, frozen=True, kw_only=True):
    """`list`: everything saved under this home."""

    rows: tuple[ListingRow, ...]


class Deleted(Value, frozen=True, kw_only=True):
    """`delete`: what was deleted, and the line that restores it."""

    name: str
    restore: str


class Exported(Value, frozen=True, kw_only=True):
    """`export`: the file written."""

    path: str
    format: str


class Reported(Value, frozen=True, kw_only=True):
    """`report`: the page that was written, with the number of its lines and of those that failed."""

    path: str
    lines: int
    failed: int
    bytes: int


class FileEntry(Struct, frozen=True, kw_only=True):
    """One entry of a data file: where it is, its type, and a description."""

    key: str
    kind: str
    about: str


class FileShown(Value, frozen=True, kw_only=True):
    """`import` of a data file that becomes no artifact: its contents. `left` counts the rows that are not shown."""

    table: ClassVar[str] = "entries"
    path: str
    entries: tuple[FileEntry, ...]
    left: int = 0


class ModelExported(Value, frozen=True, kw_only=True):
    """`export FOLDER --model`: the folder, the fingerprint of its weights, and the edits that they include.

    `reopened` says that the folder was opened again and its weights and logits were identical to the bit.
    """

    path: str
    fingerprint: str
    dtype: str
    bytes: int
    edits: tuple[str, ...]
    reopened: bool


class Fingerprints(Value, frozen=True, kw_only=True):
    """`fingerprint`: of the open model, and the sha256 of saved files by name.

    `fingerprint` is the checkpoint's. `weights` is the sha256 of all weights in memory, `unedited` the same with
    `edits` off, "" where no edit is on. `path` is the list that was written, or "". The fields about the model are
    empty where no model is open or artifacts were named.
    """

    model: str
    fingerprint: str
    weights: str
    unedited: str
    edits: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    path: str = ""


class FilesVerified(Value, frozen=True, kw_only=True):
    """`verify-files`: the files of a list, each of which has the sha256 given there."""

    path: str
    files: tuple[str, ...]


class Imported(Value, frozen=True, kw_only=True):
    """`import`: the circuit that was read and that the session now has."""

    table: ClassVar[str] = "circuit.neurons"
    path: str
    circuit: Circuit
