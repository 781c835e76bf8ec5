"""Named artifacts on disk: one file each, checked when read, and never lost by accident.

Files are written whole or not at all (see `disk`). If two processes save the same name, one wins and the other gets an
error. What is deleted or replaced moves to `trash/`; nothing here removes an artifact for good.

Layout of the home folder: `circuits/NAME.json`, `presets/NAME.json`, `vectors/NAME.safetensors`,
`atlases/NAME.safetensors`, `means/NAME.safetensors`, `edits/NAME.safetensors`, `models/`, and
`trash/circuits/NAME~TIME-ID.json`. The formats of the files are those of `layouts`.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterable, Sized
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import platformdirs
from msgspec import Struct

from sessions.cancel import look
from sessions.errors import ArtifactError
from sessions.files import tensor_file
from sessions.files.disk import (
    HOME_HINT,
    LARGEST,
    binned,
    link,
    make_folder,
    read_file,
    reported,
    sync_folder,
    turn,
    write_file,
)
from sessions.files.layouts import Header, Json, Layout, Safetensors
from sessions.files.tensor_file import Tensors
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


class ListingRow(Struct, frozen=True, kw_only=True):
    """One line of a listing. `error` says why a file cannot be loaded; its other fields may be empty then.

    `modified` is ISO 8601 in UTC; `bytes` the size of the file; the rest as in `Header`.
    """

    name: str
    kind: str
    model: str = ""
    fingerprint: str = ""
    command: str = ""
    created: str = ""
    size: int = 0
    target: str = ""
    modified: str = ""
    bytes: int = 0
    error: str = ""


def default_home() -> Path:
    """$WORKBENCH_HOME, or the platform's folder for a user's data.

    Raises:
        ArtifactError: $WORKBENCH_HOME starts with the home folder of a user who does not exist.
    """
    chosen = os.environ.get("WORKBENCH_HOME") or platformdirs.user_data_dir("workbench", appauthor=False)
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError as error:
        raise ArtifactError(f"WORKBENCH_HOME is '{chosen}': {error}", "set it to an absolute path") from error


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return _iso(datetime.now(UTC))


def checked_name(name: str) -> str:
    """The name, if an artifact may have it: it is no path, and means nothing else in a selection.

    Raises:
        ArtifactError: it may not; the message says why.
    """
    if _NAME.fullmatch(name):
        if _RESERVED.fullmatch(name):
            raise ArtifactError(
                f"'{name}' cannot be a name: it means something else where neurons are selected",
                f"put a word before it: my-{name}"[:80],
            )
        return name
    raise ArtifactError(_why_no_name(name), _NAME_RULE)


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
            each.partition("+") for each in (header_fingerprint, open_fingerprint)
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


class Store:
    """The named artifacts below one home folder. Nothing is created before the first save."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = default_home() if home is None else Path(home).expanduser().absolute()

    @property
    def models(self) -> Path:
        """Where the embedded models are kept once they have been converted."""
        return self.home / "models"

    def path(self, kind: str, name: str) -> Path:
        """Where the artifact is, or would be.

        Raises:
            ArtifactError: the name is not one an artifact may have.
        """
        folder, others = self._folder(kind), KINDS[kind].besides
        if others is not None and others.fullmatch(name):
            raise ArtifactError(
                f"'{name}' cannot be a name: the workbench uses such names itself", f"put a word before it: my-{name}"
            )
        return folder / f"{checked_name(name)}{KINDS[kind].suffix}"

    def check_new(self, kind: str, name: str, force: bool = False) -> None:
        """Raise `ArtifactError` if a name is taken and `force` is off, before anything is computed."""
        if not force and name in self.names(kind):
            raise ArtifactError(f"{kind} '{name}' exists already", "replace it with --force, or choose another name")

    def save(
        self, kind: str, name: str, body: Any, *, model: str, fingerprint: str, command: str, force: bool = False
    ) -> Path:
        """Write the artifact and return its path. With `force`, what had the name moves to the trash.

        `body` is what the kind's layout takes: a struct for JSON, a `Packed` for safetensors.

        Raises:
            ArtifactError: the name is invalid or taken, the body cannot be written exactly, or the home cannot be
                written. Nothing has changed on disk.
        """
        path = self.path(kind, name)
        header = {
            "kind": kind,
            "format": KINDS[kind].format,
            "name": name,
            "model": model,
            "fingerprint": fingerprint,
            "command": command,
            "created": now(),
            "size": len(body) if isinstance(body, Sized) else 0,
            "target": str(getattr(body, "target", "")),
        }
        data = KINDS[kind].layout.written(header, body, f"{kind} '{name}'")
        earlier = self._trash(kind, name)
        return write_file(path, data, force=force, what=f"{kind} '{name}'", earlier=earlier, hint=HOME_HINT)

    def load(self, kind: str, name: str, body_type: type[T]) -> tuple[Header, T]:
        """The artifact's header and its body, after all checks.

        Raises:
            ArtifactError: there is none of that name, or the file is unreadable, damaged, of another
                kind, of a newer format or of the wrong shape; the message names the file and place.
        """
        path = self.present(kind, name)
        artifact = opened(read_file(path, HOME_HINT), kind, str(path))
        _check_own_name(artifact.header, name, path)
        return artifact.header, body_of(artifact, body_type, str(path))

    def rows(self, kind: str | None = None) -> list[ListingRow]:
        """One row for each file of that kind, or of all kinds, by name; a damaged file is a row too.

        Of files with tensors only the headers are read; changed numbers are noticed when the artifact is loaded.

        Raises:
            ArtifactError: a folder is there and cannot be read.
        """
        kinds = list(KINDS) if kind is None else [kind]
        return [_row(each, path) for each in kinds for path in self._files(each)]

    def names(self, kind: str) -> list[str]:
        """The names in use, sorted, without opening a file: for completion. Empty if the folder cannot be read."""
        try:
            stems = [path.name.removesuffix(KINDS[kind].suffix) for path in self._files(kind)]
        except ArtifactError:
            return []
        return [stem for stem in stems if _NAME.fullmatch(stem) and not _RESERVED.fullmatch(stem)]

    def free(self, kind: str, stem: str, besides: Iterable[str] = ()) -> str:
        """The first of `stem-1`, `stem-2`, … that is neither in use nor in `besides`."""
        taken = {*self.names(kind), *besides}
        return next(name for name in (f"{stem}-{number}" for number in count(1)) if name not in taken)

    def delete(self, kind: str, name: str) -> str:
        """Move the artifact, damaged or not, to the trash; `restore` brings it back.

        Returns:
            Where it is now, relative to the home folder.

        Raises:
            ArtifactError: there is none of that name, or the home cannot be written.
        """
        path, kept = self.present(kind, name), self._trash(kind, name)
        with reported("delete", path):
            make_folder(kept.parent)
            with turn(path.parent):
                path.rename(kept)
                sync_folder(kept.parent)
                sync_folder(path.parent)
        return str(kept.relative_to(self.home))

    def restore(self, kind: str, name: str) -> Path:
        """Bring back the version of that name that was deleted or replaced last; returns its path.

        Raises:
            ArtifactError: nothing of that name is in the trash, or the name is in use again.
        """
        path = self.path(kind, name)
        with reported("restore", path):
            trash = self.home / "trash" / KINDS[kind].folder
            kept = max(trash.glob(f"{name}~*{KINDS[kind].suffix}"), default=None, key=lambda each: each.name)
            if kept is None:
                raise ArtifactError(f"no {kind} called '{name}' was deleted", f"{trash} holds what can be restored")
            make_folder(path.parent)
            with turn(path.parent):
                try:
                    link(kept, path)
                except FileExistsError as error:
                    raise ArtifactError(f"{kind} '{name}' exists already", f"delete {Key(kind, name)} first") from error
                kept.unlink(missing_ok=True)
                sync_folder(path.parent)
                sync_folder(trash)
        return path

    def _folder(self, kind: str) -> Path:
        if kind not in KINDS:
            raise ArtifactError(f"there is no kind of artifact called '{kind}'", f"one of: {', '.join(KINDS)}")
        return self.home / KINDS[kind].folder

    def present(self, kind: str, name: str) -> Path:
        """The path of an existing artifact.

        Raises:
            ArtifactError: there is none of that name; the message suggests similar names.
        """
        path = self.path(kind, name)
        with reported("read", path):
            try:
                path.lstat()
            except FileNotFoundError as error:
                raise ArtifactError(f"no {kind} is called '{name}'", self._nearest(kind, name)) from error
        return path

    def _trash(self, kind: str, name: str) -> Path:
        return binned(self.home / "trash" / KINDS[kind].folder, name, KINDS[kind].suffix)

    def _files(self, kind: str) -> list[Path]:
        folder = self._folder(kind)
        with reported("read", folder):
            try:
                files = sorted(folder.iterdir())
            except FileNotFoundError:
                return []
        suffix, others = KINDS[kind].suffix, KINDS[kind].besides
        found = [path for path in files if path.name.endswith(suffix) and not path.name.startswith(".")]
        return [path for path in found if others is None or not others.fullmatch(path.name.removesuffix(suffix))]

    def _nearest(self, kind: str, name: str) -> str:
        names = self.names(kind)
        near = difflib.get_close_matches(name, names, n=3)
        if near:
            return f"did you mean {' or '.join(near)}?"
        return "list shows what there is" if names else f"no {kind} has been saved in {self.home}"


def opened(data: bytes, kind: str, source: str) -> Artifact:
    """The artifact in a file's bytes, after checking kind, format version and sha256; the body is not decoded.

    Raises:
        ArtifactError: a check failed. `source` is how the message names the file.
    """
    layout = KINDS[kind].layout
    _check_stamp(data, kind, source)
    header, body, sha256 = layout.read(data, source)
    if sha256 != header.sha256:
        raise ArtifactError(
            f"{source} was changed or damaged after it was saved: its sha256 is not that of its body", layout.repair
        )
    return Artifact(header, body)


def _check_stamp(data: bytes, kind: str, source: str) -> None:
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


def _row(kind: str, path: Path) -> ListingRow:
    look()
    name = path.name.removesuffix(KINDS[kind].suffix)
    modified, size = "", 0
    try:
        status = path.stat()
        modified, size = _iso(datetime.fromtimestamp(status.st_mtime, UTC)), status.st_size
        header = _listed(kind, path, status)
        _check_own_name(header, checked_name(name), path)
    except (ArtifactError, OSError) as error:
        message = error.message if isinstance(error, ArtifactError) else f"cannot read {path}: {error.strerror}"
        return ListingRow(name=name, kind=kind, modified=modified, bytes=size, error=message)
    return ListingRow(
        name=name,
        kind=kind,
        model=header.model,
        fingerprint=header.fingerprint,
        command=header.command,
        created=header.created,
        size=header.size,
        target=header.target,
        modified=modified,
        bytes=size,
    )


def _listed(kind: str, path: Path, status: os.stat_result) -> Header:
    """The header of a file, for a listing. Of a file with tensors nothing else is read, and its sha256 is not checked.

    Raises:
        ArtifactError: the header shows that the file cannot be loaded.
    """
    layout, source = KINDS[kind].layout, str(path)
    if not isinstance(layout, Safetensors) or not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
        return opened(read_file(path), kind, source).header
    texts_alone = tensor_file.written(Tensors(tensor_file.checked_texts(path), {}))
    _check_stamp(texts_alone, kind, source)
    return layout.read(texts_alone, source)[0]


def _check_own_name(header: Header, name: str, path: Path) -> None:
    if header.name != name:
        raise ArtifactError(
            f"{path} was saved under the name '{header.name}'", f"rename it to {header.name}{path.suffix}, or import it"
        )


def _why_no_name(name: str) -> str:
    if not name:
        return "the name is empty"
    if name.startswith(("/", "~", "\\")) or re.match(r"[A-Za-z]:[/\\]", name):
        return f"{name!r} is an absolute path, not a name"
    if "/" in name or "\\" in name:
        return f"{name!r} is a path, not a name"
    if len(name) > 64:
        return f"the name {name[:20]!r}… has {len(name)} characters; 64 are the most"
    bad = next((each for each in name if not re.match(r"[A-Za-z0-9._-]", each)), "")
    if bad:
        return f"{name!r} cannot be a name: it has {bad!r} in it"
    return f"{name!r} cannot be a name: it starts with {name[0]!r}"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
