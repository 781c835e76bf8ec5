"""Saves the state of a round between two steps, so that training continues after a kill.

The file holds the adapter's weights with two moments each, the gradient counted so far, the curve, the plan, and a hash
of the data. It is written whole or not at all, and carries a sha256. Writing takes at most a twentieth of the time.
Steps after the last write are trained again, to the same bits (see `reproducible`).
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from time import perf_counter

import msgspec
from msgspec import Struct, structs
from torch import Tensor

from sessions.errors import ArtifactError
from sessions.files.disk import read_file, reported, write_file
from sessions.files.tensor_file import Tensors, digest, read, written
from sessions.model.floats import from_bytes, to_bytes
from sessions.model.info import same_model
from sessions.model.units import Unit
from sessions.training.findings import TrainingPlan, TrainingStep
from sessions.training.gradients import ModuleGradients
from sessions.training.learner import TrainingState
from sessions.training.recruits import MEASURES
from sessions.training.samples import Lesson
from sessions.training.scaling import Scale

#: The largest share of the time spent on writing the state.
SHARE = 0.05
_ANEW = "--anew begins again"


class BegunRound(Struct, frozen=True, kw_only=True):
    """The identity of an unfinished round; training continues only if all of it is equal."""

    model: str
    dtype: str
    plan: TrainingPlan
    data: str
    suppressed: tuple[Unit, ...] = ()


class _Reached(Struct, frozen=True):
    step: int
    curve: tuple[TrainingStep, ...]
    initial: tuple[float, ...]
    scale: Scale | None = None
    plain_initial: tuple[float, ...] = ()


#: The difference that a message names, by field of `BegunRound`.
_DIFFERENCES = {
    "model": "of another model", "dtype": "in another dtype", "plan": "with other settings",
    "data": "on other data", "suppressed": "with other neurons suppressed",
}  # fmt: skip


def data_of(lessons: tuple[Lesson, ...]) -> str:
    """The sha256 of the training data: ids, starts and weights."""
    return sha256(repr([(lesson.ids, lesson.start, lesson.weights) for lesson in lessons]).encode()).hexdigest()


class Unfinished:
    """The file of one unfinished round."""

    def __init__(self, path: Path, begun: BegunRound) -> None:
        self.path = path
        self.begun = begun
        self._cost, self._since = 0.0, 0.0

    def keep(self, state: TrainingState) -> None:
        """Write the state, unless the last write was too recent.

        Raises:
            ArtifactError: the file cannot be written; the last written state is still there.
        """
        start = perf_counter()
        if start - self._since < self._cost / SHARE:
            return
        self.write(state)
        self._since = perf_counter()
        self._cost = self._since - start

    def write(self, state: TrainingState) -> None:
        """Write the state."""
        initial, plain = tuple(state.initial), tuple(state.plain_initial)
        reached = _Reached(state.step, tuple(state.curve), initial, state.scale, plain)
        tensors = {f"weight.{name}": to_bytes(tensor) for name, tensor in state.weights.items()}
        for name, moments in state.moments.items():
            tensors |= {f"moment{number}.{name}": to_bytes(moment) for number, moment in enumerate(moments, 1)}
        for measure, by_layer in state.absorbing.scores.items():
            tensors |= {f"score.{measure}.{layer}": to_bytes(row) for layer, row in by_layer.items()}
        if state.absorbing.modules is not None:
            tensors |= {f"module.{kind}": to_bytes(row) for kind, row in state.absorbing.modules.rows().items()}
        fields = {
            "begun": msgspec.json.encode(self.begun).decode(),
            "reached": msgspec.json.encode(reached).decode(),
        }
        fields["sha256"] = digest(fields, tensors)
        write_file(self.path, written(Tensors(fields, tensors)), force=True, what="the unfinished round")

    def begun_as(self) -> BegunRound | None:
        """The identity of the saved state; None if there is none, or it cannot be read."""
        with suppress(ArtifactError):
            return self._read()[0] if self.path.exists() else None
        return None

    def taken_up(self) -> TrainingState | None:
        """The saved state; None if there is none.

        Raises:
            ArtifactError: the file is damaged, or belongs to another training; the message names the difference.
        """
        if not self.path.exists():
            return None
        begun, state = self._read()
        if same_model(begun.model, self.begun.model):
            begun = structs.replace(begun, model=self.begun.model)
        for field, difference in _DIFFERENCES.items():
            if getattr(begun, field) != getattr(self.begun, field):
                message = f"a round of that name was begun {difference} and not finished"
                raise ArtifactError(message, f"choose another, or {_ANEW}")
        return state

    def _read(self) -> tuple[BegunRound, TrainingState]:
        source = str(self.path)
        contents = read(read_file(self.path), source)
        fields = dict(contents.fields)
        try:
            if fields.pop("sha256", "") != digest(fields, contents.tensors):
                raise ArtifactError(f"{source} was changed or damaged after it was written", _ANEW)
            begun = msgspec.json.decode(fields["begun"], type=BegunRound)
            reached = msgspec.json.decode(fields["reached"], type=_Reached)
            state = _state(reached, contents)
        except (KeyError, ValueError, RecursionError) as error:  # msgspec's are ValueErrors
            raise ArtifactError(f"{source} holds no unfinished round: {error}", _ANEW) from error
        return begun, state

    def discard(self) -> None:
        """Remove the file if it exists."""
        with reported("remove", self.path), suppress(FileNotFoundError):
            self.path.unlink()


def _state(reached: _Reached, contents: Tensors) -> TrainingState:
    state = TrainingState(
        step=reached.step,
        curve=list(reached.curve),
        initial=list(reached.initial),
        plain_initial=list(reached.plain_initial),
        scale=reached.scale,
    )
    seconds: dict[str, Tensor] = {}
    modules: dict[str, Tensor] = {}
    for name, tensor in contents.tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "weight":
            state.weights[rest] = from_bytes(tensor, name)
        elif kind == "module":
            modules[rest] = from_bytes(tensor, name)
        elif kind == "moment2":
            seconds[rest] = from_bytes(tensor, name)
        elif kind == "score":
            measure, _, layer = rest.partition(".")
            if measure in MEASURES:
                state.absorbing.scores.setdefault(measure, {})[int(layer)] = from_bytes(tensor, name)
    state.absorbing.modules = ModuleGradients(modules) if modules or not state.step else None
    state.moments = {
        name: (from_bytes(contents.tensors[f"moment1.{name}"], name), second) for name, second in seconds.items()
    }
    return state
