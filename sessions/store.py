"""`Store`: the folders of saved artifacts, one file each, checked when read, and never lost by accident.

`artifacts` knows the kinds, the names and the checks of a single file. `Store` saves, lists, deletes and restores
files. They are written whole or not at all (see `disk`). If two processes save the same name, one wins and the other
gets an error. A deleted or replaced file moves to `trash/`; nothing here removes an artifact for good.

Layout of the home folder: `circuits/NAME.json`, `presets/NAME.json`, `vectors/NAME.safetensors`,
`atlases/NAME.safetensors`, `means/NAME.safetensors`, `lenses/NAME.safetensors`, `edits/NAME.safetensors`, `models/`,
and `trash/circuits/NAME~TIME-ID.json`. The formats of the files are those of `layouts`.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterable, Sized
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from msgspec import Struct

from sessions.artifacts import KINDS, Key, body_of, check_stamp, checked_name, is_name, iso, now, opened
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
from sessions.files.layouts import Header, Safetensors
from sessions.files.tensor_file import Tensors

T = TypeVar("T")


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


class Store:
    """The named artifacts below one home folder. Nothing is created before the first save."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = default_home() if home is None else Path(home).expanduser().absolute()

    @property
    def models(self) -> Path:
        """The folder of the converted embedded models."""
        return self.home / "models"

    def path(self, kind: str, name: str) -> Path:
        """The path of an artifact, whether it exists or not.

        Raises:
            ArtifactError: an artifact cannot have this name.
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
        """Write the artifact and return its path. With `force`, an older file of the name moves to the trash.

        `body` is a struct for a JSON kind, and a `Packed` for a safetensors kind.

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
            ArtifactError: no artifact has that name, or the file is unreadable, damaged, of another
                kind, of a newer format or of the wrong shape; the message names the file and place.
        """
        path = self.present(kind, name)
        artifact = opened(read_file(path, HOME_HINT), kind, str(path))
        _check_own_name(artifact.header, name, path)
        return artifact.header, body_of(artifact, body_type, str(path))

    def rows(self, kind: str | None = None) -> list[ListingRow]:
        """One row for each file of a kind, or of all kinds, by name; a damaged file has a row too.

        Only the headers of files with tensors are read, so changed numbers show when the artifact is loaded.

        Raises:
            ArtifactError: a folder exists and cannot be read.
        """
        kinds = list(KINDS) if kind is None else [kind]
        return [_row(one, path) for one in kinds for path in self._files(one)]

    def names(self, kind: str) -> list[str]:
        """The names in use, sorted, without opening a file: for completion. Empty if the folder cannot be read."""
        try:
            stems = [path.name.removesuffix(KINDS[kind].suffix) for path in self._files(kind)]
        except ArtifactError:
            return []
        return [stem for stem in stems if is_name(stem)]

    def free(self, kind: str, stem: str, besides: Iterable[str] = ()) -> str:
        """The first of `stem-1`, `stem-2`, … that is neither in use nor in `besides`."""
        taken = {*self.names(kind), *besides}
        return next(name for name in (f"{stem}-{number}" for number in count(1)) if name not in taken)

    def delete(self, kind: str, name: str) -> str:
        """Move the artifact, damaged or not, to the trash; `restore` brings it back.

        Returns:
            Its new path, relative to the home folder.

        Raises:
            ArtifactError: no artifact has that name, or the home cannot be written.
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
        """Bring back the version of a name that was last deleted or replaced, and return its path.

        Raises:
            ArtifactError: nothing of that name is in the trash, or the name is in use again.
        """
        path = self.path(kind, name)
        with reported("restore", path):
            trash = self.home / "trash" / KINDS[kind].folder
            kept = max(trash.glob(f"{name}~*{KINDS[kind].suffix}"), default=None, key=lambda file: file.name)
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
            ArtifactError: no artifact has that name; the message suggests similar names.
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
        named = [path for path in files if path.name.endswith(suffix) and not path.name.startswith(".")]
        return [path for path in named if others is None or not others.fullmatch(path.name.removesuffix(suffix))]

    def _nearest(self, kind: str, name: str) -> str:
        names = self.names(kind)
        near = difflib.get_close_matches(name, names, n=3)
        if near:
            return f"did you mean {' or '.join(near)}?"
        return "list shows what there is" if names else f"no {kind} has been saved in {self.home}"


def _row(kind: str, path: Path) -> ListingRow:
    look()
    name = path.name.removesuffix(KINDS[kind].suffix)
    modified, size = "", 0
    try:
        status = path.stat()
        modified, size = iso(datetime.fromtimestamp(status.st_mtime, UTC)), status.st_size
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
    """The header of a file, for a listing; of a file with tensors, the sha256 is not checked and nothing else is read.

    Raises:
        ArtifactError: the header shows that the file cannot be loaded.
    """
    layout, source = KINDS[kind].layout, str(path)
    if not isinstance(layout, Safetensors) or not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
        return opened(read_file(path), kind, source).header
    texts_alone = tensor_file.written(Tensors(tensor_file.checked_texts(path), {}))
    check_stamp(texts_alone, kind, source)
    return layout.read(texts_alone, source)[0]


def _check_own_name(header: Header, name: str, path: Path) -> None:
    if header.name != name:
        raise ArtifactError(
            f"{path} was saved under the name '{header.name}'", f"rename it to {header.name}{path.suffix}, or import it"
        )
