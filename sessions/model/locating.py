"""Finds the files of a model by the name that a user typed.

A name is, in this order: an embedded model, a `.gguf` file, a folder with a `config.json`, or the id of
a repository on the model hub, which is downloaded into the hub's own cache. Weights must be safetensors or
GGUF. Pickles can run code when they are loaded: they are refused by name, and never downloaded.
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

#: The files to download from a repository: its root folder without pickles and without a second copy of the weights.
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]
UNWANTED = ["*/*", "consolidated*"]
#: The configuration file of an adapter, and the stem of its weights.
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")

#: The most characters that a message repeats of a model's name.
_LONGEST_NAME = 200
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
#: How alike a bare name and an embedded model are, of 1, where the name is that model misspelt.
_MISSPELT = 0.8
_ACCEPTED = (
    f"a model is {', '.join(EMBEDDED)}, a folder with a config.json, a .gguf file, or a hub id like gpt2 or org/name"
)


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model on this machine: a folder, or one GGUF file in it.

    `said` describes their origin to the user.
    """

    folder: Path
    said: str
    gguf: str = ""

    @property
    def size(self) -> int:
        """Bytes of the weights in these files."""
        files = [self.folder / self.gguf] if self.gguf else self.folder.glob("*.safetensors")
        return sum(file.stat().st_size for file in files)

    def fingerprint(self) -> str:
        """The fingerprint of the weights in these files."""
        return fingerprint.of_file(self.folder / self.gguf) if self.gguf else fingerprint.of_folder(self.folder)


def located(name: str, models: Path, trust_remote_code: bool) -> Steps[ModelFiles]:
    """The files of the model called `name`, downloaded first if they are not on this machine.

    `models` is the folder of embedded models. Code of a hub model is downloaded only with
    `trust_remote_code`.

    Raises:
        ModelError: no model has that name, it cannot be downloaded, or its weights are in no safe format.
    """
    if name in EMBEDDED:
        return ModelFiles((yield from prepared(name, models)), "embedded")
    path = _path(name)
    if os.path.isfile(path):  # Path.is_file raises for a name that is too long
        return _gguf(path)
    if os.path.isdir(path):
        _check_folder(path, str(path), str(path))
        return ModelFiles(path, str(path.resolve()))
    if _HUB_ID.fullmatch(name) and path.suffix != ".gguf" and not _near_embedded(name, _MISSPELT):
        return (yield from _from_hub(name, trust_remote_code))
    raise _unknown(name)


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # ~ of an unknown user
        raise ModelError(f"invalid path '{name}': {error}", _ACCEPTED) from error


def _gguf(path: Path) -> ModelFiles:
    with reading(path) as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file", _ACCEPTED)
    return ModelFiles(path.parent, str(path.resolve()), path.name)


def _check_folder(folder: Path, described: str, typed: str) -> None:
    """Refuse a folder without a model. Messages call it `said`; `typed` is how to load it as an adapter."""
    with _reading(folder):
        names = sorted(file.name for file in folder.iterdir())
    if ADAPTER in names and ("config.json" not in names or not any(map(_is_weights, names))):
        base = _base_of(folder / ADAPTER)
        of = f", which is {base}" if base else ""
        raise ModelError(
            f"{described} holds an adapter without its model{of}",
            f"{line_of(['model', base or 'NAME'])}, then {line_of(['adapter', 'load', typed])}",
        )
    if "config.json" not in names:
        hint = f"open {folder / 'NAME.gguf'}" if any(name.endswith(".gguf") for name in names) else _ACCEPTED
        raise ModelError(f"{described} holds no model: it lacks config.json", hint)
    _check_weights(described, names)
    for name in names:
        if _matches(name, [*WANTED, "*.py"]):
            _check_file(folder / name)


def _check_file(path: Path) -> None:
    """Refuse a file that would block a library or fill the memory: a named pipe, a tokenizer of a gigabyte."""
    if path.exists() and not path.is_dir():
        check_regular(path, largest=None if path.name.endswith(".safetensors") else LARGEST)


def _base_of(path: Path) -> str:
    """The base model that an adapter's configuration names, or ""."""
    try:
        config = json.loads(read_file(path))
    except (ArtifactError, ValueError, RecursionError):
        return ""
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return base if isinstance(base, str) and base.isprintable() and len(base) <= _LONGEST_NAME else ""


def _is_weights(name: str) -> bool:
    """Whether a file name is that of a model's weights, in any format."""
    return name.endswith((".safetensors", ".gguf", *PICKLES)) and not name.startswith(ADAPTER_WEIGHTS)


def _check_weights(where: str, names: Collection[str]) -> None:
    """Refuse files without weights in a safe format; the message names the unsafe ones."""
    if any(name.endswith(".safetensors") and _is_weights(name) for name in names):
        return
    pickled = sorted(name for name in names if name.endswith(PICKLES))
    packed = sorted(name for name in names if name.endswith(".gguf"))
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
    near = _near_embedded(name, 0.5)
    meant = f"did you mean {near}? " if near else ""
    return ModelError(f"no model is called '{name}'", meant + _ACCEPTED)


def _near_embedded(name: str, alike: float) -> str:
    """The embedded model that a name is like; "" if none is."""
    near = difflib.get_close_matches(name.lower(), EMBEDDED, n=1, cutoff=alike)
    return near[0] if near else ""


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
            except RepositoryNotFoundError as error:  # includes GatedRepoError
                raise _refused_by_hub(name, error) from error
            except Exception as error:  # a missing network raises many kinds of errors
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
    # Unlike other calls, this one does not retry for half a minute without a network.
    info = huggingface_hub.HfApi().model_info(name, files_metadata=True, timeout=10)
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _cached(name: str, fetch: dict[str, Any], why: Exception) -> str:
    """The snapshot of an earlier download, used when the hub cannot be reached."""
    try:
        return huggingface_hub.snapshot_download(**fetch, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"{name} is not on this machine, and the model hub cannot be reached: {first_line(why)}",
            f"check the network, or give a folder, a .gguf file, or an embedded model: {', '.join(EMBEDDED)}",
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
