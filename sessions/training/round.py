"""`Round`: one round of training as it is kept, and the folder it is kept in.

    rounds/NAME/round.json               what was done and what came of it, with the sha256 of the files beside it
    rounds/NAME/recruits.safetensors     what each neuron absorbed, and the losses
    rounds/NAME/adapter/                 the adapter, as PEFT reads it

A folder is written under another name and renamed when it is whole: a round is there or it is not. What is deleted or
replaced moves to the trash. A round that is being trained stands in `rounds/unfinished/NAME.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import msgspec
import torch
from safetensors.torch import save as tensors_as_bytes
from torch import Tensor

from sessions.errors import ArtifactError
from sessions.files import tensor_file
from sessions.files.disk import alone, binned, make_folder, read_file, reported, sync_folder, turn, write_file
from sessions.files.json_text import decoded, readable
from sessions.files.temporary import temporary_folder
from sessions.files.tensor_file import Tensors
from sessions.model.floats import to_bytes
from sessions.model.info import same_model
from sessions.store import Store, checked_name
from sessions.training.findings import FORMAT, KIND, Round
from sessions.training.recruits import Recruits

_ROUND, _RECRUITS, _ADAPTER = "round.json", "recruits.safetensors", "adapter"
_WEIGHTS, _CONFIG = f"{_ADAPTER}/adapter_model.safetensors", f"{_ADAPTER}/adapter_config.json"
#: The files that a round may have beside what is said of it.
_FILES = (_RECRUITS, _WEIGHTS, _CONFIG)
UNFINISHED = "unfinished"
#: Tensors beside the recruits: the loss of each step, and those of the samples before and after.
_LOSSES = ("losses", "initial", "final")
#: What a control's unfinished file is called beside that of its round.
CONTROL = ".control"


def called(word: str) -> str:
    """The name of the round that is meant: a number stands for the round of that number, 2 for `round-2`."""
    return f"round-{word}" if word.isdecimal() else word


class Rounds:
    """The rounds below one home folder."""

    def __init__(self, store: Store) -> None:
        self.folder = store.home / "rounds"
        self._trash = store.home / "trash" / "rounds"

    def path(self, name: str) -> Path:
        """Where the round is, or would be."""
        return self.folder / checked_name(name)

    def unfinished(self, name: str) -> Path:
        """Where a round is kept while it is being trained."""
        return self.folder / UNFINISHED / f"{checked_name(name)}.safetensors"

    def claimed(self, name: str) -> AbstractContextManager[None]:
        """Be the only one who trains a round of that name, for the length of the block.

        Raises:
            ArtifactError: another process trains it, or the home cannot be written.
        """
        lock = self.unfinished(name).with_name(f".{checked_name(name)}.lock")
        return alone(lock, f"round '{name}' is being trained by another session")

    def is_begun(self, name: str) -> bool:
        """Whether the round, or its control, was begun and not finished."""
        return self.unfinished(name).exists() or self.unfinished(f"{name}{CONTROL}").exists()

    def forget_unfinished(self, name: str) -> None:
        """Remove what is kept of a round while it, or its control, is being trained."""
        for each in (name, f"{name}{CONTROL}"):
            self.unfinished(each).unlink(missing_ok=True)

    def adapter(self, name: str) -> Path:
        """The folder of a round's adapter, as PEFT reads it."""
        return self.path(name) / _ADAPTER

    def names(self) -> list[str]:
        """The rounds there are, sorted, without opening one; empty where the folder is unreadable."""
        try:
            found = [each.name for each in self.folder.iterdir() if (each / _ROUND).is_file()]
        except OSError:
            return []
        return sorted(found)

    def free(self, stem: str) -> str:
        """The first of `stem-1`, `stem-2`, … that no round has."""
        taken, number = set(self.names()), 1
        while f"{stem}-{number}" in taken:
            number += 1
        return f"{stem}-{number}"

    def of_model(self, fingerprint: str) -> list[Round]:
        """The readable rounds of a model, the first first; their files are not checked."""
        found = []
        for name in self.names():
            with suppress(ArtifactError):
                found.append(self.about(name))
        mine = [each for each in found if same_model(each.fingerprint, fingerprint)]
        return sorted(mine, key=lambda each: (each.created, each.name))

    def about(self, name: str) -> Round:
        """What is said of a round; the files beside it are not looked at.

        Raises:
            ArtifactError: there is none of that name, or it cannot be read.
        """
        path = self.path(name) / _ROUND
        if not path.is_file():
            near = ", ".join(self.names()[:5])
            raise ArtifactError(f"there is no round '{name}'", f"rounds: {near}" if near else "train one: train-round")
        found = decoded(read_file(path), Round, str(path))
        if (found.kind, found.format) != (KIND, FORMAT):
            raise ArtifactError(f"{path} is a {found.kind} of format {found.format}, not a round of this workbench")
        return _sound(found, str(path))

    def load(self, name: str) -> Round:
        """A round, its files checked by their sha256.

        Raises:
            ArtifactError: there is none of that name, or it is damaged.
        """
        found = self.about(name)
        for file, sha256 in found.files.items():
            if _sha256(read_file(self.path(name) / file)) != sha256:
                raise ArtifactError(f"{self.path(name) / file} was changed or damaged after it was saved")
        return found

    def recruits(self, name: str) -> Recruits:
        """What the neurons absorbed in a round.

        Raises:
            ArtifactError: there is no such round, or it is damaged.
        """
        self.load(name)
        path = self.path(name) / _RECRUITS
        contents = tensor_file.read(read_file(path), str(path))
        kept = {key: tensor for key, tensor in contents.tensors.items() if key not in _LOSSES}
        return Recruits.unpacked(Tensors(contents.fields, kept), str(path))

    def share(self, found: Round) -> float | None:
        """The part of all absorbed gradient that the recruits of a round absorbed; None where there are none.

        Raises:
            ArtifactError: the file of what its neurons absorbed is missing or damaged.
        """
        absorbed = self.recruits(found.name)
        total = absorbed.total(absorbed.usual)
        strongest = sum(neuron.attribution or 0.0 for neuron in found.recruited)
        return strongest / total if total and found.recruited else None

    def save(
        self, found: Round, recruits: Recruits, adapter: Mapping[str, Tensor] | None, *, force: bool = False
    ) -> Path:
        """Write a round, whole or not at all; with `force`, what had its name moves to the trash.

        Args:
            adapter: its weights by PEFT's names; None for a round that comes without one.

        Raises:
            ArtifactError: the name is taken, or the folder cannot be written.
        """
        path, files = self.path(found.name), {_RECRUITS: tensor_file.written(_with_losses(recruits, found))}
        if adapter is not None:
            weights = {name: tensor.contiguous() for name, tensor in adapter.items()}
            files[_WEIGHTS] = tensors_as_bytes(weights, metadata={"format": "pt"})
            files[_CONFIG] = json.dumps(found.config, indent=2, default=list).encode() + b"\n"
        signed = msgspec.structs.replace(found, files={name: _sha256(data) for name, data in sorted(files.items())})
        files[_ROUND] = readable(msgspec.to_builtins(signed), f"round '{found.name}'")
        with reported("write", path), self._anew(found.name, force) as folder:
            for name, data in files.items():
                write_file(folder / name, data)
        return path

    def delete(self, name: str) -> Path:
        """Move a round to the trash; returns where it is now.

        Raises:
            ArtifactError: there is none of that name, or it cannot be moved.
        """
        if not self.path(name).is_dir():
            raise ArtifactError(f"there is no round '{name}'", "rounds shows what there is")
        with reported("delete", self.path(name)), turn(self.folder):
            return self._discard(name)

    @contextmanager
    def _anew(self, name: str, force: bool) -> Iterator[Path]:
        """A folder to fill, which becomes the round's at the end of the block."""
        path = self.path(name)
        if path.exists() and not force:
            raise ArtifactError(f"round '{name}' exists already", "replace it with --force, or choose another name")
        with temporary_folder(self.folder) as folder:
            yield folder
            with turn(self.folder):
                if path.exists():
                    if not force:
                        raise ArtifactError(f"round '{name}' exists already", "replace it with --force")
                    self._discard(name)
                folder.rename(path)
                sync_folder(self.folder)

    def _discard(self, name: str) -> Path:
        make_folder(self._trash)
        kept = binned(self._trash, name)
        self.path(name).rename(kept)
        sync_folder(self._trash)
        sync_folder(self.folder)
        return kept


def _sound(found: Round, source: str) -> Round:
    """The round, if it is one: with losses of its samples, neurons that can exist, and files that are its own.

    Raises:
        ArtifactError: it is not; `source` is how the message names it.
    """
    for outcome in (found.outcome, *filter(None, [found.control])):
        if not outcome.initial or len(outcome.initial) != len(outcome.final):
            raise ArtifactError(f"{source} has no loss of each sample before and after")
        samples = len(outcome.initial)
        by_sample = [outcome.plain_initial, outcome.plain_final, *(each.losses for each in outcome.epochs)]
        by_sample += [each.plain_losses for each in outcome.epochs]
        if any(len(each) not in (0, samples) for each in by_sample):
            raise ArtifactError(f"{source} has losses that are not of its {samples} samples")
        if len({len(row) for row in outcome.gradient.values()}) > 1:
            raise ArtifactError(f"{source} has the gradient of more layers in one projection than in another")
    plan = found.plan
    if min(plan.rank, plan.epochs, plan.batch) < 1:
        raise ArtifactError(f"{source} has an invalid plan: rank, epochs and batch count from 1")
    neurons = (*found.recruited, *found.suppressed, *plan.neurons)
    wrong = next((each for each in neurons if min(each.site) < 0), None)
    if wrong is not None:
        raise ArtifactError(f"{source} has {wrong}: layers and neurons count from 0")
    foreign = next((name for name in found.files if name not in _FILES), None)
    if foreign is not None:
        raise ArtifactError(f"{source} names the file {foreign[:80]!r}, which is not a file of a round")
    return found


def _with_losses(recruits: Recruits, found: Round) -> Tensors:
    """The recruits, and beside them the losses as numbers: of each step, and of each sample before and after."""
    packed, outcome = recruits.packed(), found.outcome
    losses = ([step.loss for step in outcome.curve], outcome.initial, outcome.final)
    named = {name: to_bytes(torch.tensor(each)) for name, each in zip(_LOSSES, losses, strict=True)}
    return Tensors(packed.fields, {**packed.tensors, **named})


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
