"""`Rounds`: the saved rounds of training, one folder each.

    rounds/NAME/round.json               the plan and the outcome, with the sha256 of the other files
    rounds/NAME/recruits.safetensors     what each neuron absorbed, and the losses
    rounds/NAME/adapter/                 the adapter in PEFT's format

A folder is written under a temporary name and renamed when it is complete, so a saved round is always whole. A round
that is deleted or replaced moves to the trash. A round in training is in `rounds/unfinished/NAME.safetensors`.
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

from sessions.artifacts import checked_name
from sessions.errors import ArtifactError
from sessions.files import tensor_file
from sessions.files.disk import alone, binned, make_folder, read_file, reported, sync_folder, turn, write_file
from sessions.files.json_text import decoded, readable
from sessions.files.temporary import temporary_folder
from sessions.files.tensor_file import Tensors
from sessions.model.floats import to_bytes
from sessions.model.info import same_model
from sessions.store import Store
from sessions.training.findings import FORMAT, KIND, Round
from sessions.training.recruits import Recruits

_ROUND, _RECRUITS, _ADAPTER = "round.json", "recruits.safetensors", "adapter"
_WEIGHTS, _CONFIG = f"{_ADAPTER}/adapter_model.safetensors", f"{_ADAPTER}/adapter_config.json"
#: The files that a round can have beside `round.json`.
_FILES = (_RECRUITS, _WEIGHTS, _CONFIG)
UNFINISHED = "unfinished"
#: Tensors saved with the recruits: the loss of each step, and the losses of the samples before and after.
_LOSSES = ("losses", "initial", "final")
#: The suffix of the unfinished file of a control.
CONTROL = ".control"


def called(word: str) -> str:
    """The name of a round; a number N stands for `round-N`."""
    return f"round-{word}" if word.isdecimal() else word


class Rounds:
    """The rounds in one home folder."""

    def __init__(self, store: Store) -> None:
        self.folder = store.home / "rounds"
        self._trash = store.home / "trash" / "rounds"

    def path(self, name: str) -> Path:
        """The folder of a round, whether it exists or not."""
        return self.folder / checked_name(name)

    def unfinished(self, name: str) -> Path:
        """The file that holds a round's state during training."""
        return self.folder / UNFINISHED / f"{checked_name(name)}.safetensors"

    def claimed(self, name: str) -> AbstractContextManager[None]:
        """Lock the name of a round for training inside the block.

        Raises:
            ArtifactError: another process trains the round, or the home cannot be written.
        """
        lock = self.unfinished(name).with_name(f".{checked_name(name)}.lock")
        return alone(lock, f"round '{name}' is being trained by another session")

    def is_begun(self, name: str) -> bool:
        """Whether the round, or its control, is unfinished."""
        return self.unfinished(name).exists() or self.unfinished(f"{name}{CONTROL}").exists()

    def forget_unfinished(self, name: str) -> None:
        """Remove the unfinished files of a round and of its control."""
        for stem in (name, f"{name}{CONTROL}"):
            self.unfinished(stem).unlink(missing_ok=True)

    def adapter(self, name: str) -> Path:
        """The folder of a round's adapter, in PEFT's format."""
        return self.path(name) / _ADAPTER

    def names(self) -> list[str]:
        """The names of all rounds, sorted, without reading them; empty if the folder is unreadable."""
        try:
            return sorted(folder.name for folder in self.folder.iterdir() if (folder / _ROUND).is_file())
        except OSError:
            return []

    def free(self, stem: str) -> str:
        """The first unused name of `stem-1`, `stem-2`, …"""
        taken, number = set(self.names()), 1
        while f"{stem}-{number}" in taken:
            number += 1
        return f"{stem}-{number}"

    def of_model(self, fingerprint: str) -> list[Round]:
        """The readable rounds of a model, the oldest first; their other files are not checked."""
        readable_rounds = []
        for name in self.names():
            with suppress(ArtifactError):
                readable_rounds.append(self.about(name))
        of_model = [one for one in readable_rounds if same_model(one.fingerprint, fingerprint)]
        return sorted(of_model, key=lambda one: (one.created, one.name))

    def about(self, name: str) -> Round:
        """The contents of `round.json`; the other files are not read.

        Raises:
            ArtifactError: no round has that name, or it cannot be read.
        """
        path = self.path(name) / _ROUND
        if not path.is_file():
            near = ", ".join(self.names()[:5])
            raise ArtifactError(f"there is no round '{name}'", f"rounds: {near}" if near else "train one: train-round")
        saved = decoded(read_file(path), Round, str(path))
        if (saved.kind, saved.format) != (KIND, FORMAT):
            raise ArtifactError(f"{path} is a {saved.kind} of format {saved.format}, not a round of this workbench")
        return _sound(saved, str(path))

    def load(self, name: str) -> Round:
        """A round, after checking its files by their sha256.

        Raises:
            ArtifactError: no round has that name, or it is damaged.
        """
        saved = self.about(name)
        for file, sha256 in saved.files.items():
            if _sha256(read_file(self.path(name) / file)) != sha256:
                raise ArtifactError(f"{self.path(name) / file} was changed or damaged after it was saved")
        return saved

    def recruits(self, name: str) -> Recruits:
        """The gradient that each neuron absorbed in a round.

        Raises:
            ArtifactError: no round has that name, or it is damaged.
        """
        self.load(name)
        path = self.path(name) / _RECRUITS
        contents = tensor_file.read(read_file(path), str(path))
        kept = {key: tensor for key, tensor in contents.tensors.items() if key not in _LOSSES}
        return Recruits.unpacked(Tensors(contents.fields, kept), str(path))

    def share(self, trained: Round) -> float | None:
        """The recruits' share of all absorbed gradient in a round; None if it has no recruits.

        Raises:
            ArtifactError: the round's recruits file is missing or damaged.
        """
        absorbed = self.recruits(trained.name)
        total = absorbed.total(absorbed.usual)
        strongest = sum(neuron.attribution or 0.0 for neuron in trained.recruited)
        return strongest / total if total and trained.recruited else None

    def save(
        self, trained: Round, recruits: Recruits, adapter: Mapping[str, Tensor] | None, *, force: bool = False
    ) -> Path:
        """Write a round, whole or not at all; with `force`, an older round of its name moves to the trash.

        Args:
            adapter: the adapter's weights by PEFT's names; None if the round has no adapter.

        Raises:
            ArtifactError: the name is taken, or the folder cannot be written.
        """
        path, files = self.path(trained.name), {_RECRUITS: tensor_file.written(_with_losses(recruits, trained))}
        if adapter is not None:
            weights = {name: tensor.contiguous() for name, tensor in adapter.items()}
            files[_WEIGHTS] = tensors_as_bytes(weights, metadata={"format": "pt"})
            files[_CONFIG] = json.dumps(trained.config, indent=2, default=list).encode() + b"\n"
        signed = msgspec.structs.replace(trained, files={name: _sha256(data) for name, data in sorted(files.items())})
        files[_ROUND] = readable(msgspec.to_builtins(signed), f"round '{trained.name}'")
        with reported("write", path), self._anew(trained.name, force) as folder:
            for name, data in files.items():
                write_file(folder / name, data)
        return path

    def delete(self, name: str) -> Path:
        """Move a round to the trash, and return its new path.

        Raises:
            ArtifactError: no round has that name, or it cannot be moved.
        """
        if not self.path(name).is_dir():
            raise ArtifactError(f"there is no round '{name}'", "rounds shows what there is")
        with reported("delete", self.path(name)), turn(self.folder):
            return self._discard(name)

    @contextmanager
    def _anew(self, name: str, force: bool) -> Iterator[Path]:
        """A folder to fill, which becomes the round's folder at the end of the block."""
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


def _sound(saved: Round, source: str) -> Round:
    """The round unchanged, after checks of its losses, its neurons and the names of its files.

    Raises:
        ArtifactError: a check fails; `source` names the file in the message.
    """
    for outcome in (saved.outcome, *filter(None, [saved.control])):
        if not outcome.initial or len(outcome.initial) != len(outcome.final):
            raise ArtifactError(f"{source} has no loss of each sample before and after")
        samples = len(outcome.initial)
        by_sample = [outcome.plain_initial, outcome.plain_final, *(epoch.losses for epoch in outcome.epochs)]
        by_sample += [epoch.plain_losses for epoch in outcome.epochs]
        if any(len(losses) not in (0, samples) for losses in by_sample):
            raise ArtifactError(f"{source} has losses that are not of its {samples} samples")
        if len({len(row) for row in outcome.gradient.values()}) > 1:
            raise ArtifactError(f"{source} has the gradient of more layers in one projection than in another")
    plan = saved.plan
    if min(plan.rank, plan.epochs, plan.batch) < 1:
        raise ArtifactError(f"{source} has an invalid plan: rank, epochs and batch count from 1")
    neurons = (*saved.recruited, *saved.suppressed, *plan.neurons)
    wrong = next((neuron for neuron in neurons if min(neuron.site) < 0), None)
    if wrong is not None:
        raise ArtifactError(f"{source} has {wrong}: layers and neurons count from 0")
    foreign = next((name for name in saved.files if name not in _FILES), None)
    if foreign is not None:
        raise ArtifactError(f"{source} names the file {foreign[:80]!r}, which is not a file of a round")
    return saved


def _with_losses(recruits: Recruits, trained: Round) -> Tensors:
    """The tensors of the recruits and of the losses: of each step, and of each sample before and after."""
    packed, outcome = recruits.packed(), trained.outcome
    losses = ([step.loss for step in outcome.curve], outcome.initial, outcome.final)
    named = {name: to_bytes(torch.tensor(row)) for name, row in zip(_LOSSES, losses, strict=True)}
    return Tensors(packed.fields, {**packed.tensors, **named})


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
