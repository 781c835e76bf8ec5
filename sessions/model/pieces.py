"""Work cut into pieces: computed here one after the other, or side by side by the workers of a cluster.

A job is what all its pieces share, and a piece says which part is meant. Both are data. The outcome of a piece depends
on the model, the job and the piece alone. Pieces are cut, and their outcomes taken in, in an order that does not depend
on who computes them. So a result is the same with any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from sessions.cancel import Cancel
from sessions.events import Progress, Steps, retold
from sessions.model.opening import OpenModel

P = TypeVar("P")
R = TypeVar("R")
Part = TypeVar("Part", contravariant=True)
Outcome = TypeVar("Outcome", covariant=True)
Computing = Generator[float, None, R]
"""The computation of a piece: it yields how much of the piece is done, as `Job.size` counts, and returns an outcome."""


@dataclass(frozen=True)
class WorkingModel:
    """A model as a session has it now: its edits in the weights, and its suppressed neurons at zero.

    Inside the block that `unsuppressed` makes no neuron is at zero, inside that of `lifted` no edit is in the weights.
    """

    opened: OpenModel
    cancel: Cancel | None = None
    unsuppressed: Callable[[], AbstractContextManager[None]] = nullcontext
    lifted: Callable[[], AbstractContextManager[None]] = nullcontext


class PieceState(Protocol):
    """A state of the model that pieces are computed in."""

    def within(self, model: WorkingModel) -> AbstractContextManager[None]:
        """The block in which it holds."""


class Job(Protocol[Part, Outcome]):
    """What the pieces of a piece of work share; data, so that other processes can compute them."""

    def size(self, piece: Part) -> float:
        """How much of the work the piece is, as progress counts."""

    def state(self, piece: Part) -> PieceState | None:
        """The state of the model in which the piece is computed, None for that of the session."""

    def compute(self, model: WorkingModel, piece: Part) -> Generator[float, None, Outcome]:
        """Compute a piece in its state."""


class Engine(Protocol):
    """What computes the pieces of a job."""

    def __call__(
        self,
        job: Job[P, R],
        pieces: Iterable[P],
        take: Callable[[P, R], None],
        progress: Callable[[float, P], Progress],
    ) -> Steps[None]:
        """Compute all pieces.

        Args:
            take: receives the outcomes in the order of the pieces.
            progress: makes an event of how much is done and of the first piece that is not taken yet.

        Raises:
            Cancelled: the model's cancel flag was set.
        """


class Computer(Generic[P, R]):
    """Computes pieces of a job one by one. Pieces of one state that follow each other share its block."""

    def __init__(self, model: WorkingModel, job: Job[P, R]) -> None:
        self._model, self._job = model, job
        self._state: PieceState | None = None
        self._block = ExitStack()

    def compute(self, piece: P) -> Computing[R]:
        """Compute a piece in its state."""
        state = self._job.state(piece)
        if state is not self._state:
            self.close()
            if state is not None:
                self._block.enter_context(state.within(self._model))
            self._state = state
        return (yield from self._job.compute(self._model, piece))

    def close(self) -> None:
        """Leave the block of the last state."""
        self._state = None
        self._block.close()


def one_by_one(model: WorkingModel) -> Engine:
    """The engine that computes in this process."""

    def compute(
        job: Job[P, R], pieces: Iterable[P], take: Callable[[P, R], None], progress: Callable[[float, P], Progress]
    ) -> Steps[None]:
        done = 0.0
        with closing(Computer(model, job)) as computer:
            for piece in pieces:
                yield progress(done, piece)
                outcome = yield from retold(computer.compute(piece), partial(_so_far, progress, done, piece))
                take(piece, outcome)
                done += job.size(piece)
                yield progress(done, piece)

    return compute


def _so_far(progress: Callable[[float, P], Progress], done: float, piece: P, part: float) -> Progress:
    return progress(done + part, piece)
