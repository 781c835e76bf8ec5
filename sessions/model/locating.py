"""Finding a model: from what a user typed to files on this machine.

A name is, in this order: an embedded model, a `.gguf` file, a folder with a `config.json`, or the id of
a repository on the model hub, which is downloaded into the hub's own cache. Weights are accepted as
safetensors or GGUF; pickles, which can run code when they are loaded, are refused by name and, on the
hub, never fetched.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.utils import logging as hub_logging

from sessions.errors import ArtifactError, ModelError
from sessions.events import Steps
from sessions.files.disk import LARGEST, check_regular, read_file, reading
from sessions.lines import line_of
from sessions.model import fingerprint
from sessions.model.background import Abandoned, Meter, byte_bars, first_line, in_background
from sessions.model.embedded import EMBEDDED, prepared

#: What is fetched from a repository: its root folder without pickles, and without a second copy of the weights.
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]
UNWANTED = ["*/*", "consolidated*"]
#: What makes a folder, or a part of one, an adapter, and what its weights are called.
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")

#: Characters of a model's name that a message repeats.
_LONGEST_NAME = 200
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ACCEPTED = f"a model is {', '.join(EMBEDDED)}, a folder with a config.json, a .gguf file, or a hub id like org/name"


@dataclass(frozen=True)
class ModelFiles:
    """Files on this machine that make a model: a folder, or one GGUF file in it.

    `said` is where they come from, in words for the user.
    """

    folder: Path
    said: str
    gguf: str = ""

    def fingerprint(self) -> str:
        """The fingerprint of the weights in these files."""
        return fingerprint.of_file(self.folder / self.gguf) if self.gguf else fingerprint.of_folder(self.folder)


def located(name: str, models: Path, trust_remote_code: bool) -> Steps[ModelFiles]:
    """The files of the model called `name`, fetched first where they are not here yet.

    `models` is where embedded models are kept. Code that comes with a hub model is fetched only with
    `trust_remote_code`.

    Raises:
        ModelError: there is no such model, it cannot be fetched, or its weights are in no safe format.
    """
    if name in EMBEDDED:
        return ModelFiles((yield from prepared(name, models)), "embedded")
    path = _path(name)
    if os.path.isfile(path):  # which, unlike Path.is_file, takes a name too long for a file for no file
        return _gguf(path)
    if os.path.isdir(path):
        _check_folder(path, str(path), str(path))
        return ModelFiles(path, str(path.resolve()))
    if _HUB_ID.fullmatch(name) and path.suffix != ".gguf":
        return (yield from _from_hub(name, trust_remote_code))
    raise _unknown(name)


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # ~somebody who does not exist
        raise ModelError(f"invalid path '{name}': {error}", _ACCEPTED) from error


def _gguf(path: Path) -> ModelFiles:
    with reading(path) as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file", _ACCEPTED)
    return ModelFiles(path.parent, str(path.resolve()), path.name)


def _check_folder(folder: Path, said: str, typed: str) -> None:
    """Refuse a folder that holds no model; it is `said` to be so, and taken for an adapter when `typed`."""
    with _reading(folder):
        names = sorted(each.name for each in folder.iterdir())
    if ADAPTER in names and ("config.json" not in names or not any(map(_is_weights, names))):
        base = _base_of(folder / ADAPTER)
        of = f", which is {base}" if base else ""
        raise ModelError(
            f"{said} holds an adapter without its model{of}",
            f"{line_of(['model', base or 'NAME'])}, then {line_of(['adapter', 'load', typed])}",
        )
    if "config.json" not in names:
        hint = f"open {folder / 'NAME.gguf'}" if any(each.endswith(".gguf") for each in names) else _ACCEPTED
        raise ModelError(f"{said} holds no model: it lacks config.json", hint)
    _check_weights(said, names)
    for name in names:
        if _matches(name, [*WANTED, "*.py"]):
            _check_file(folder / name)


def _check_file(path: Path) -> None:
    """Refuse what a library would wait for, or could not hold: a named pipe, a tokenizer of a gigabyte."""
    if path.exists() and not path.is_dir():
        check_regular(path, largest=None if path.name.endswith(".safetensors") else LARGEST)


def _base_of(path: Path) -> str:
    """The model that an adapter says it was made on; "" where it says none."""
    try:
        config = json.loads(read_file(path))
    except (ArtifactError, ValueError, RecursionError):
        return ""
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return base if isinstance(base, str) and base.isprintable() and len(base) <= _LONGEST_NAME else ""


def _is_weights(name: str) -> bool:
    """Whether a file may have weights of a model in it, in whatever form."""
    return name.endswith((".safetensors", ".gguf", *PICKLES)) and not name.startswith(ADAPTER_WEIGHTS)


def _check_weights(where: str, names: Collection[str]) -> None:
    """Refuse, by name, files that have the weights in no form that can be read safely."""
    if any(each.endswith(".safetensors") and _is_weights(each) for each in names):
        return
    pickled = sorted(each for each in names if each.endswith(PICKLES))
    packed = sorted(each for each in names if each.endswith(".gguf"))
    if packed:
        raise ModelError(
            f"{where} has its weights only as GGUF: {', '.join(packed[:3])}",
            "open such a file by its path, once it is on this machine",
        )
    if pickled:
        raise ModelError(
            f"{where} has its weights only as {pickled[0]}, a format that can run code when it is loaded",
            "open a model that has safetensors, or convert this one where you trust it",
        )
    raise ModelError(f"{where} has no weights", _ACCEPTED)


def _unknown(name: str) -> ModelError:
    if name.startswith(("/", "./", "../", "~")) or name.count("/") > 1 or name.endswith(".gguf"):
        return ModelError(f"there is no folder or file '{name}'", _ACCEPTED)
    near = difflib.get_close_matches(name.lower(), EMBEDDED, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    return ModelError(f"no model is called '{name}'", meant + _ACCEPTED)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


def _from_hub(name: str, trust_remote_code: bool) -> Steps[ModelFiles]:
    wanted = [*WANTED, *(["*.py"] if trust_remote_code else [])]
    fetch = {"repo_id": name, "allow_patterns": wanted, "ignore_patterns": UNWANTED}

    def look_and_fetch(meter: Meter) -> str:
        with _hub_quiet():
            try:
                sizes = _listed(name)
            except RepositoryNotFoundError as error:  # or it is gated, which is a kind of that
                raise _refused_by_hub(name, error) from error
            except Exception as error:  # no network, in one of the many ways that shows itself
                return _cached(name, fetch, error)
            root = [path for path in sizes if "/" not in path]
            if ADAPTER not in root or any(map(_is_weights, root)):
                _check_weights(name, root)
            chosen = [path for path in sizes if _matches(path, wanted) and not _matches(path, UNWANTED)]
            meter.total = sum(sizes[path] for path in chosen)
            try:
                return huggingface_hub.snapshot_download(**fetch, tqdm_class=byte_bars(meter))
            except Abandoned:
                raise
            except Exception as error:
                raise ModelError(
                    f"{name} could not be downloaded: {first_line(error)}", "open it again: it goes on"
                ) from error

    snapshot = Path((yield from in_background(look_and_fetch, f"downloading {name}", unit="B")))
    _check_folder(snapshot, name, str(snapshot))
    return ModelFiles(snapshot, f"hub, revision {snapshot.name}")


def _listed(name: str) -> dict[str, int]:
    """The files of a repository with their sizes in bytes."""
    # This call, unlike others, does not try again for half a minute where there is no network.
    found = huggingface_hub.HfApi().model_info(name, files_metadata=True, timeout=10)
    return {each.rfilename: each.size or 0 for each in found.siblings or ()}


def _cached(name: str, fetch: dict[str, Any], why: Exception) -> str:
    """The snapshot of an earlier download, for when the hub cannot be asked."""
    try:
        return huggingface_hub.snapshot_download(**fetch, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"{name} is not on this machine, and the model hub cannot be reached: {first_line(why)}",
            f"check the network, or open one of {', '.join(EMBEDDED)}",
        ) from error


def _refused_by_hub(name: str, error: Exception) -> ModelError:
    if isinstance(error, GatedRepoError):
        return ModelError(f"{name} is gated: its owner gives access on request", "ask on its page, then: hf auth login")
    return ModelError(f"the model hub has no '{name}', or it is private", _ACCEPTED)


@contextmanager
def _hub_quiet() -> Iterator[None]:
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)
