"""Kinds of artifacts, their names, and the checks that a file of an artifact passes.

An artifact is one file. Its header names its kind, its format, the model that it was made on and the line that made it.
This module knows kinds, names and single files; `store` knows the folders that the files are in.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from sessions.errors import ArtifactError
from sessions.files.layouts import Header, Json, Layout, Safetensors
from sessions.model.info import same_model

T = TypeVar("T")
LONGEST_NAME = 64
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
_NAME_RULE = "a name is 1 to 64 letters, digits, '.', '_' or '-', and starts with a letter or digit: texas-2"
#: Words that mean something else in a selection, where '-' means "minus".
_RESERVED = re.compile(r"(?:all|suppressed|top[0-9]+)(?:-.*)?|recruits.*|l[0-9]+.*", re.IGNORECASE)


class Kind(NamedTuple):
    """A kind of artifact: its folder, the newest version of its format that this program reads, and its layout.

    `besides` matches the names of other files, which the program itself keeps in the folder.
    """

    folder: str
    format: int
    layout: Layout
    besides: re.Pattern[str] | None = None

    @property
    def suffix(self) -> str:
        return self.layout.suffix


KINDS = {
    "circuit": Kind("circuits", 1, Json()),
    "vector": Kind("vectors", 1, Safetensors()),
    "preset": Kind("presets", 1, Json()),
    "atlas": Kind("atlases", 1, Safetensors()),
    "edit": Kind("edits", 1, Safetensors()),
    "means": Kind("means", 1, Safetensors(), re.compile("[0-9a-f]{16}-[0-9a-f]{16}(?:-aligned)?")),
    "lens": Kind("lenses", 1, Safetensors()),
}


class Key(Struct, frozen=True):
    """The kind and the name of an artifact: `texas` and `circuit:texas` are the same circuit, `vector:calm` a vector.

    A key without a name is written as its kind.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        if self.kind == "circuit":
            return self.name
        return f"{self.kind}:{self.name}" if self.name else self.kind


class Artifact(NamedTuple):
    """The header and the body of a file, checked; the body is not decoded yet."""

    header: Header
    body: Any


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return iso(datetime.now(UTC))


def is_name(text: str) -> bool:
    """Whether an artifact can have this name."""
    return bool(_NAME.fullmatch(text)) and not _RESERVED.fullmatch(text)


def checked_name(name: str) -> str:
    """The name unchanged, after a check that an artifact can have it.

    Raises:
        ArtifactError: the name is a path, has characters that are not allowed, or means something in a selection.
    """
    if not _NAME.fullmatch(name):
        raise ArtifactError(_why_no_name(name), _NAME_RULE)
    if _RESERVED.fullmatch(name):
        raise ArtifactError(
            f"'{name}' cannot be a name: it means something else where neurons are selected",
            f"put a word before it: my-{name}"[:80],
        )
    return name


def check_model(
    header_fingerprint: str, header_model: str, open_fingerprint: str, open_model_name: str, force: bool = False
) -> str:
    """Refuse an artifact that was made on another model than the open one.

    Returns:
        A remark if the artifact is used although `force` was needed, or although it does not say which model it was
        made on. Empty if the models are the same.

    Raises:
        ArtifactError: the fingerprints differ, and `force` was not given.
    """
    if not open_fingerprint or same_model(header_fingerprint, open_fingerprint):
        return ""
    if not header_fingerprint:
        return f"it does not say which model it was made on; it is used on {open_model_name}"
    made_on = header_model or "another model"
    # Two models of one name can have different weights; only the fingerprints tell them apart.
    if made_on == open_model_name:
        (weights, _, config), (open_weights, _, open_config) = (
            fingerprint.partition("+") for fingerprint in (header_fingerprint, open_fingerprint)
        )
        other = (weights[:12], open_weights[:12]) if weights != open_weights else (config, open_config)
        what = "weights" if weights != open_weights else "values in its configuration"
        made_on += f" with other {what} ({other[0]}, not {other[1]})"
    if force:
        return f"it was made on {made_on} and is used on {open_model_name}"
    raise ArtifactError(
        f"it was made on {made_on}, and {open_model_name} is open",
        f"open that model first, or use it on {open_model_name} all the same with --force",
    )


def opened(data: bytes, kind: str, source: str) -> Artifact:
    """The artifact in a file's bytes, after checking kind, format version and sha256; the body is not decoded.

    Raises:
        ArtifactError: a check failed; `source` names the file in the message.
    """
    layout = KINDS[kind].layout
    check_stamp(data, kind, source)
    header, body, sha256 = layout.read(data, source)
    if sha256 != header.sha256:
        raise ArtifactError(
            f"{source} was changed or damaged after it was saved: its sha256 is not that of its body", layout.repair
        )
    return Artifact(header, body)


def check_stamp(data: bytes, kind: str, source: str) -> None:
    """Raise `ArtifactError` if the file is of another kind, or of a newer format than this program reads."""
    stamp = KINDS[kind].layout.stamp(data, source)
    if stamp.kind != kind:
        raise ArtifactError(f"{source} holds a {stamp.kind}, not a {kind}")
    if stamp.format > KINDS[kind].format:
        raise ArtifactError(
            f"{source} has format {stamp.format}, and this workbench reads a {kind} up to {KINDS[kind].format}",
            "it was written by a newer workbench: upgrade this one",
        )


def body_of(artifact: Artifact, body_type: type[T], source: str) -> T:
    """The artifact's body as a `body_type`.

    Raises:
        ArtifactError: it has another shape; the message gives the path to the first difference.
    """
    return KINDS[artifact.header.kind].layout.body(artifact.body, body_type, source)


def _why_no_name(name: str) -> str:
    if not name:
        return "the name is empty"
    if name.startswith(("/", "~", "\\")) or re.match(r"[A-Za-z]:[/\\]", name):
        return f"{name!r} is an absolute path, not a name"
    if "/" in name or "\\" in name:
        return f"{name!r} is a path, not a name"
    if len(name) > 64:
        return f"the name {name[:20]!r}… has {len(name)} characters; 64 are the most"
    bad = next((sign for sign in name if not re.match(r"[A-Za-z0-9._-]", sign)), "")
    if bad:
        return f"{name!r} cannot be a name: it has {bad!r} in it"
    return f"{name!r} cannot be a name: it starts with {name[0]!r}"


def iso(moment: datetime) -> str:
    """A time in UTC as ISO 8601, to the second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
