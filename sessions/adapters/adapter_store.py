"""The saved adapters: PEFT folders by name, `adapters/NAME/`, which other programs can read unchanged.

Beside PEFT's two files lies `workbench.json`, with the header of every artifact. A folder is written under a hidden
name and renamed when it is complete, so that it never exists in part. Deleted folders move to `trash/adapters/`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from sessions.adapters.folders import CHUNK, CONFIG, WEIGHTS, Contents, Outline, outline, read_folder
from sessions.artifacts import checked_name, now
from sessions.errors import ArtifactError
from sessions.files.disk import HOME_HINT, binned, make_folder, read_file, reading, reported, sync_folder, turn
from sessions.files.json_text import decoded, readable
from sessions.files.temporary import temporary_folder
from sessions.model.background import Meter

ABOUT = "workbench.json"
_FORMAT = 1


class AdapterAbout(Struct, frozen=True, kw_only=True):
    """The header of an adapter, stored beside PEFT's files. `origin` is where its files were copied from, or what it
    was made from."""

    kind: str = "adapter"
    format: int = _FORMAT
    name: str = ""
    model: str = ""
    fingerprint: str = ""
    command: str = ""
    created: str = ""
    origin: str = ""
    sha256: str = ""


@dataclass(frozen=True, eq=False)
class KeptAdapter:
    """A saved adapter."""

    about: AdapterAbout
    contents: Contents


class AdapterStore:
    """The adapters below one home folder."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "adapters"
        self._trash = home / "trash" / "adapters"

    def path(self, name: str) -> Path:
        """Where an adapter is, or would be.

        Raises:
            ArtifactError: the name is not one that an artifact may have.
        """
        return self.folder / checked_name(name)

    def names(self) -> list[str]:
        """The names in use, sorted; empty where the folder cannot be read."""
        with suppress(OSError):
            return sorted(folder.name for folder in self.folder.iterdir() if folder.is_dir() and folder.name[0] != ".")
        return []

    def free(self, stem: str) -> str:
        """The first of `stem-1`, `stem-2`, … that no adapter has."""
        taken = set(self.names())
        return next(name for name in (f"{stem}-{number}" for number in count(1)) if name not in taken)

    def check_new(self, name: str, force: bool = False) -> None:
        """Raise `ArtifactError` where the name cannot be given to an adapter."""
        if self.path(name).exists() and not force:
            raise ArtifactError(f"adapter '{name}' exists already", "replace it with --force, or choose another name")

    def stamp(self, name: str) -> tuple[int, int] | None:
        """A key that changes when the folder of that name is replaced; None where there is none."""
        try:
            status = self.path(name).stat()
        except OSError:
            return None
        return status.st_ino, status.st_ctime_ns

    def read(self, name: str, meter: Meter | None = None) -> KeptAdapter:
        """An adapter, after every check that can be made on it.

        Raises:
            ArtifactError: there is none of that name, or its files have changed since they were kept.
        """
        path = self._present(name)
        contents = read_folder(path, meter)
        about = about_of(path) or AdapterAbout(sha256=contents.sha256)
        if about.sha256 != contents.sha256:
            raise ArtifactError(
                f"{path} was changed or damaged after it was kept: its sha256 differs", "take it in anew"
            )
        return KeptAdapter(about, contents)

    def take(self, source: Path, about: AdapterAbout, meter: Meter | None = None, *, force: bool = False) -> Path:
        """Copy PEFT's files from a folder; `about.sha256` is their expected hash.

        Raises:
            ArtifactError: the name is taken, the files have changed, or they cannot be written. Nothing is left then.
        """

        def filled(folder: Path) -> None:
            for name in (CONFIG, WEIGHTS):
                _copy(source / name, folder / name, meter)

        return self._made(about, filled, force, meter)

    def write(self, config: Mapping[str, Any], weights: bytes, about: AdapterAbout, *, force: bool = False) -> Path:
        """Save an adapter that was made here. Raises as `take`."""

        def filled(folder: Path) -> None:
            _write(folder / CONFIG, readable(config, f"the config of adapter '{about.name}'"))
            _write(folder / WEIGHTS, weights)

        return self._made(about, filled, force)

    def delete(self, name: str) -> None:
        """Move an adapter to the trash.

        Raises:
            ArtifactError: there is none of that name, or the home cannot be written.
        """
        path = self._present(name)
        with reported("delete", path, HOME_HINT):
            make_folder(self._trash)
            with turn(self.folder):
                path.rename(self._binned(name))
                sync_folder(self._trash)
                sync_folder(self.folder)

    def withdraw(self, name: str, replaced: bool) -> None:
        """Remove for good what has just been saved; what it had `replaced` gets its name back."""
        path = self.path(name)
        if path.is_dir():
            with temporary_folder(self.folder) as hidden:
                path.rename(hidden / name)
            if replaced:
                self.restore(name)

    def restore(self, name: str) -> Path:
        """Restore the version of that name that was deleted or replaced last.

        Raises:
            ArtifactError: nothing of that name is in the trash, or the name is in use again.
        """
        path = self.path(name)
        with reported("restore", path, HOME_HINT):
            kept = max(self._trash.glob(f"{name}~*"), default=None, key=lambda folder: folder.name)
            if kept is None:
                raise ArtifactError(f"no adapter called '{name}' was deleted", f"{self._trash} holds those that were")
            make_folder(self.folder)
            with turn(self.folder):
                if path.exists():
                    raise ArtifactError(f"adapter '{name}' exists already", f"adapter delete {name} makes room")
                kept.rename(path)
                sync_folder(self.folder)
                sync_folder(self._trash)
        return path

    def _made(
        self, about: AdapterAbout, filled: Callable[[Path], None], force: bool, meter: Meter | None = None
    ) -> Path:
        path = self.path(about.name)
        self.check_new(about.name, force)
        with reported("write", path, HOME_HINT), temporary_folder(self.folder) as temporary:
            filled(temporary)
            contents = read_folder(temporary, meter)
            if about.sha256 and contents.sha256 != about.sha256:
                raise ArtifactError(f"the files of adapter '{about.name}' changed while they were copied", "try again")
            about = msgspec.structs.replace(about, created=about.created or now(), sha256=contents.sha256)
            _write(temporary / ABOUT, readable(msgspec.to_builtins(about), about.name))
            sync_folder(temporary)
            self._put(temporary, path, force)
        return path

    def _put(self, temporary: Path, path: Path, force: bool) -> None:
        with turn(self.folder):
            if path.exists():
                self.check_new(path.name, force)
                make_folder(self._trash)
                path.rename(self._binned(path.name))
                sync_folder(self._trash)
            temporary.rename(path)
            sync_folder(self.folder)

    def _binned(self, name: str) -> Path:
        return binned(self._trash, name)

    def _present(self, name: str) -> Path:
        path = self.path(name)
        if not path.is_dir():
            near = get_close_matches(name, self.names(), n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "take one in: adapter load FOLDER --as NAME"
            raise ArtifactError(f"no adapter is called '{name}'", hint)
        return path


def about_of(folder: Path) -> AdapterAbout | None:
    """The header beside PEFT's files; None in a folder that this workbench did not write.

    Raises:
        ArtifactError: it is damaged, or of a newer format.
    """
    path = folder / ABOUT
    if not path.is_file():
        return None
    about = decoded(read_file(path), AdapterAbout, str(path))
    if about.kind != "adapter" or about.format > _FORMAT:
        raise ArtifactError(
            f"{path} is of a {about.kind}, format {about.format}", "it was written by a newer workbench"
        )
    return about


def outlined(folder: Path) -> tuple[AdapterAbout, Outline]:
    """The header and outline of an adapter, its numbers and sha256 unchecked. Raises `ArtifactError`."""
    return about_of(folder) or AdapterAbout(), outline(folder)


def put_out(kept: KeptAdapter, source: Path, target: Path, weight: float, *, force: bool) -> Path:
    """Write a saved adapter to a folder for other programs, its weight multiplied into its alphas.

    Raises:
        ArtifactError: the folder exists and `force` is off, or it cannot be written; nothing is left then.
    """
    contents, about = kept.contents, kept.about
    config = dict(contents.config)
    if weight != 1:
        config["lora_alpha"] = config.get("lora_alpha", 8) * weight
        config["alpha_pattern"] = {key: alpha * weight for key, alpha in (config.get("alpha_pattern") or {}).items()}
    if target.exists() and not force:
        raise ArtifactError(f"'{target}' exists already", "replace it with --force, or name another folder")
    with (
        reported("write", target, "choose a place where you may write"),
        temporary_folder(target.parent) as temporary,
    ):
        _write(temporary / CONFIG, readable(config, str(target)))
        _copy(source / WEIGHTS, temporary / WEIGHTS, None)
        about = msgspec.structs.replace(about, sha256=read_folder(temporary).sha256)
        _write(temporary / ABOUT, readable(msgspec.to_builtins(about), str(target)))
        sync_folder(temporary)
        if target.exists():
            _replace_files(temporary, target)
        else:
            temporary.rename(target)
        sync_folder(target.parent)
    return target


def _replace_files(temporary: Path, target: Path) -> None:
    """Replace these files in a folder that may hold others as well."""
    if not target.is_dir():
        raise ArtifactError(f"'{target}' is a file, and an adapter is a folder", "name a folder")
    for name in (CONFIG, WEIGHTS, ABOUT):
        (temporary / name).replace(target / name)


def _copy(source: Path, target: Path, meter: Meter | None) -> None:
    with reading(source) as file, reported("write", target, HOME_HINT), target.open("xb") as copy:
        while chunk := file.read(CHUNK):
            if meter is not None:
                meter.reach(meter.done)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
