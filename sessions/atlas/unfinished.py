"""An unfinished atlas on disk, `atlases/unfinished/NAME.safetensors`, so that a build can continue after a kill.

The file has the running statistics, their plan, and the documents that may have maxima. It is written whole or not at
all, has a sha256, and cannot be loaded as an atlas. It is removed when the atlas is saved. A build holds a lock on the
name, which ends with the process: a second build of the same atlas is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct, structs

from sessions.artifacts import checked_name, now
from sessions.atlas.atlas import Array
from sessions.atlas.building import AtlasPlan, Building
from sessions.atlas.folding import TENSORS
from sessions.errors import ArtifactError
from sessions.files.disk import alone, read_file, reported, write_file
from sessions.files.layouts import Safetensors
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.model.info import same_model
from sessions.store import Store

KIND, FORMAT = "unfinished-atlas", 1
_FOLDER = "unfinished"
_DTYPES = {"float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64"}
_ANEW = "--force begins anew"


class _Begun(Struct, frozen=True):
    plan: AtlasPlan
    documents: int
    empty: int
    tokens: int


@dataclass(frozen=True)
class _Packed:
    """A body for the layout."""

    contents: Tensors

    def packed(self) -> Tensors:
        return self.contents

    @classmethod
    def unpacked(cls, contents: Tensors, source: str) -> _Packed:
        return cls(contents)


def path_of(store: Store, name: str) -> Path:
    """Where it is, or would be."""
    return store.home / "atlases" / _FOLDER / f"{checked_name(name)}.safetensors"


@contextmanager
def claimed(store: Store, name: str) -> Iterator[Path]:
    """Inside the block this process alone builds an atlas of that name. Yields the path of the unfinished file.

    Raises:
        ArtifactError: another process builds it, or the home cannot be written.
    """
    path = path_of(store, name)
    with alone(path.with_name(f".{name}.lock"), f"atlas '{name}' is being built by another session"):
        yield path


def keep(building: Building, path: Path, name: str) -> None:
    """Save the state of a build.

    Raises:
        ArtifactError: it cannot be written; the earlier state is still there.
    """
    progress = building.progress
    about = _Begun(building.plan, progress.documents, progress.empty, progress.tokens)
    tensors = {
        f"{number}.{key}": _bytes(value)
        for number, running in enumerate(building.running)
        for key, value in running.state().items()
    }
    kept = progress.kept
    tensors["documents.numbers"] = _bytes(np.asarray(list(kept), dtype=np.int64))
    tensors["documents.lengths"] = _bytes(np.asarray([len(ids) for ids in kept.values()], dtype=np.int64))
    tensors["documents.ids"] = _bytes(np.concatenate([np.zeros(0, dtype=np.int32), *kept.values()]))
    header = {
        "kind": KIND,
        "format": FORMAT,
        "name": name,
        "model": building.opened.info.name,
        "fingerprint": building.plan.model,
        "command": "",
        "created": now(),
    }
    body = _Packed(Tensors({"begun": msgspec.json.encode(about).decode()}, tensors))
    what = f"unfinished atlas '{name}'"
    write_file(path, Safetensors().pieces(header, body, what), force=True, what=what)


def gone_on(building: Building, path: Path) -> bool:
    """Restore the saved state of a build. Returns whether there was one.

    Raises:
        ArtifactError: it is damaged, or of another plan; the message names the difference.
    """
    if not path.exists():
        return False
    data, source, layout = read_file(path), str(path), Safetensors()
    try:
        stamp = layout.stamp(data, source)
        header, contents, sha256 = layout.read(data, source)
        if (stamp.kind, stamp.format) != (KIND, FORMAT) or sha256 != header.sha256:
            raise ArtifactError(f"{source} was changed or damaged after it was written")
        begun = msgspec.json.decode(contents.fields.get("begun", ""), type=_Begun)
        _check(begun.plan, building.plan, header.name)
        for number, running in enumerate(building.running):
            running.restore({key: _array(contents.tensors[f"{number}.{key}"]) for key in TENSORS})
        numbers, lengths, ids = (
            _array(contents.tensors[f"documents.{name}"]) for name in ("numbers", "lengths", "ids")
        )
        parts = np.split(ids, np.cumsum(lengths)[:-1]) if len(numbers) else []
        kept: dict[int, Array] = dict(zip(numbers.tolist(), parts, strict=True))
    except ArtifactError as error:
        raise ArtifactError(error.message, error.hint or _ANEW) from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        raise ArtifactError(f"{source} holds no unfinished atlas: {error}", _ANEW) from error
    progress = building.progress
    progress.documents, progress.empty, progress.tokens = begun.documents, begun.empty, begun.tokens
    progress.kept = kept
    return True


_DIFFERENCES = {
    "model": "of another model", "dtype": "in another dtype", "under": "with other neurons suppressed",
    "corpus": "of another corpus", "survey": "of other documents", "layers": "of other layers",
    "length": "with another --length", "k": "with another --top", "batch": "with another --batch",
}  # fmt: skip


def _check(begun: AtlasPlan, wanted: AtlasPlan, name: str) -> None:
    if same_model(begun.model, wanted.model):
        begun = structs.replace(begun, model=wanted.model)
    for key, difference in _DIFFERENCES.items():
        if getattr(begun, key) != getattr(wanted, key):
            raise ArtifactError(
                f"an atlas '{name}' was begun {difference} and not finished", f"choose another name, or {_ANEW}"
            )


def discard(path: Path) -> None:
    """Remove it, if it is there."""
    with reported("remove", path), suppress(FileNotFoundError):
        path.unlink()


def _bytes(values: Array) -> TensorBytes:
    """The tensor as a view of the numbers: a copy would double the memory of the statistics."""
    data: Any = np.ascontiguousarray(values).reshape(-1).view("u1").data
    return TensorBytes(_DTYPES[values.dtype.name], tuple(values.shape), data)


def _array(tensor: TensorBytes) -> Array:
    names = {short: long for long, short in _DTYPES.items()}
    numbers: Array = np.frombuffer(tensor.data, names[tensor.dtype]).reshape(tensor.shape)
    return numbers
