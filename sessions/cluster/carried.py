"""What goes to a worker: the model that it opens, the state that it brings it into, and what comes back as an error.

All of it is data of this package, sent between processes of the same version. A worker opens the model by its name and
checks that it has the same weights and configuration. The edits and adapters that are on, and the suppressed neurons,
are sent; live interventions are part of the jobs that they are in force in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from sessions import errors
from sessions.errors import ModelError, UsageError, WorkbenchError
from sessions.model.info import ModelInfo, Opening
from sessions.model.units import Unit
from sessions.versions import versions

if TYPE_CHECKING:  # imports torch: a worker of another version says so before
    from sessions.edits.edit import Edit

#: What the hint of an error says where nodes have another version.
SAME_VERSION = "install the same version on every node: pip install 'neuron-workbench[ray]'"


class CarriedModel(Struct, frozen=True, kw_only=True):
    """The model of a session, for workers to open.

    `folder` is where the session keeps embedded models; a node that has no such folder uses its own.
    """

    opening: Opening
    folder: str
    fingerprint: str
    code: dict[str, str]

    @property
    def on_gpu(self) -> bool:
        return self.opening.device == "cuda"


@dataclass(frozen=True, eq=False)
class CarriedState:
    """The state of a session's model: the edits that are on, in order, and the neurons at zero; `key` identifies it."""

    key: str
    edits: tuple[Edit, ...]
    suppressed: tuple[Unit, ...]


class Refused(Struct, frozen=True):
    """An error of a worker, as data. `trace` is that of an unforeseen error."""

    kind: str
    message: str
    hint: str = ""
    trace: str = ""

    @classmethod
    def of(cls, error: WorkbenchError) -> Refused:
        return cls(error.kind, error.message, error.hint)

    def error(self) -> Exception:
        """The error to raise where the work was asked for."""
        if self.kind == "memory":
            return MemoryError(self.message)
        kind = _KINDS.get(self.kind)
        if kind is not None:
            return kind(self.message, self.hint)
        defect = RuntimeError(self.message)
        defect.add_note(self.trace)
        return defect


_KINDS: dict[str, type[WorkbenchError]] = {
    kind.kind: kind for kind in (errors.UsageError, errors.ModelError, errors.ArtifactError, errors.ExpectationFailed)
}


def carried(opening: Opening | None, info: ModelInfo, models: Path) -> CarriedModel:
    """What workers need to open the same model.

    Raises:
        UsageError: the model is one that they could not open.
    """
    if opening is None:
        raise UsageError(
            f"--on needs a model that workers can open by its name, and {info.name} was given from memory",
            "save it as a folder, and open that: model FOLDER",
        )
    if opening.device_map is not None or "+" in info.device:
        raise UsageError(
            f"--on gives each worker a model on one device, and {info.name} is open over {info.device}",
            f"open it on one: model {opening.name} --device cuda",
        )
    path = Path(opening.folder, os.path.expanduser(opening.name))
    return CarriedModel(
        opening=structs.replace(
            opening,
            name=str(path.resolve()) if os.path.exists(path) else opening.name,
            dtype=info.dtype if opening.load_in is None else opening.dtype,
            device=info.device.partition(":")[0],
            folder="",
        ),
        folder=str(models.resolve()),
        fingerprint=info.fingerprint,
        code=code(),
    )


def code() -> dict[str, str]:
    """The versions of the packages that results depend on, and a digest of the sources of this one."""
    return {**versions(), "sources": _sources()}


@cache
def _sources() -> str:
    root, digest = Path(errors.__file__).parent, sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def check_code(wanted: dict[str, str], node: str) -> None:
    """Raise `ModelError` where this process runs other versions than those that are wanted."""
    own = code()
    for name, version in wanted.items():
        if own.get(name) != version:
            what = f"{name} {own.get(name, 'not at all')}" if name != "sources" else "other sources of the workbench"
            here = f"{name} {version}" if name != "sources" else "others"
            raise ModelError(f"the worker on node {node} runs {what}, and this session {here}", SAME_VERSION)
