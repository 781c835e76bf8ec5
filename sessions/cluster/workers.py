"""The workers of a session on a cluster, and the engine that hands pieces out to them.

1. Pieces are handed out in their order, one to a worker; a piece that a lost worker had goes first.
2. Outcomes are taken in the order of the pieces. Few pieces are ahead of the first that is not taken yet, since each
   waiting outcome takes memory here.
3. A worker that is lost, with its process or its node, is replaced as soon as there is room for another. A piece that
   ends `TRIES` workers is given up, and so is the work when no node is left that could run a worker.

Workers keep the model open between commands. They end with the session, or when it opens another model.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

from sessions.cancel import Cancel
from sessions.cluster.carried import SAME_VERSION, CarriedModel, CarriedState, Refused
from sessions.cluster.connecting import RayCluster
from sessions.cluster.worker import STOPPED, Computed, Ready, Worker
from sessions.errors import Cancelled, ModelError, UsageError
from sessions.events import Progress, Steps
from sessions.model.background import first_line
from sessions.model.pieces import Engine, Job

P = TypeVar("P")
R = TypeVar("R")

#: Workers that may be lost with the same piece, or one after the other before they are ready.
TRIES = 3
#: Seconds between two looks at the workers, at how much of their pieces is done, and at the nodes.
LOOK, ASK = 0.1, 0.5
#: Seconds without a node that could run a worker, after which the work is given up.
PATIENCE = 10.0
_CONTROL = "control"


@dataclass(eq=False)
class Hand:
    """A worker: its actor, the answer it owes, and of which piece of which job; `ready` once it has the model open."""

    actor: Any
    owes: Any = None
    ready: bool = False
    job: int = 0
    piece: int = -1
    amount: float = 0.0
    asked: Any = None

    def call(self, method: str, *given: Any) -> Any:
        """Call a method beside the piece that is computed."""
        return getattr(self.actor, method).options(concurrency_group=_CONTROL).remote(*given)


class Workers:
    """The workers of one model on one cluster.

    Args:
        most: how many at most; None for one a GPU or, for a model on the CPU, one a CPU.

    Raises:
        UsageError: the cluster has no room for a worker, or not for so many.
    """

    def __init__(self, cluster: RayCluster, model: CarriedModel, most: int | None = None) -> None:
        self.cluster, self.model, self.most = cluster, model, most
        self._ray = cluster.ray
        self._needs = self._need()
        threads = int(self._needs["num_cpus"])
        kind = self._ray.remote(concurrency_groups={_CONTROL: 1})(Worker).options(max_restarts=0, **self._needs)
        self._make: Callable[[], Any] = lambda: kind.remote(model, threads)
        self._hands: list[Hand] = []
        self._jobs = 0
        self._failed = 0  # times in a row that workers were lost before they were ready
        self._resume = 0.0  # when to start workers again: a node that is lost stays on Ray's list for a while
        self._without_room: float | None = None  # since when no node could run a worker
        self.lost = False  # whether the head was given up
        self._silent: float | None = None  # since when the head does not answer

    def _need(self) -> dict[str, float]:
        """What each worker needs: a GPU, or an equal share of the CPUs."""
        if self.model.on_gpu:
            needs, what = {"num_gpus": 1.0, "num_cpus": 1.0}, "GPU"
        else:
            needs, what = {"num_cpus": 1.0}, "CPU"
        room = self.cluster.room(_resources(needs))
        if not room:
            raise UsageError(f"{self.cluster} has no node with a {what} for a worker", "add a node: ray start")
        if self.most is not None and room < self.most:
            raise UsageError(
                f"{self.cluster} has room for {room} worker{'' if room == 1 else 's'}, a {what} each, not {self.most}",
                f"--workers {room}",
            )
        while not self.model.on_gpu and self.most is not None:
            more = {"num_cpus": needs["num_cpus"] + 1}
            if self.cluster.room(_resources(more)) < self.most:
                break
            needs = more
        return needs

    def engine(self, state: CarriedState, cancel: Cancel) -> Engine:
        """What computes pieces on the workers, on the model in a state."""

        def compute(
            job: Job[P, R], pieces: Iterable[P], take: Callable[[P, R], None], progress: Callable[[float, P], Progress]
        ) -> Steps[None]:
            self._jobs += 1
            refs = self._ray.put(state), self._ray.put(job)
            try:
                yield from self._computing(_Work(job, iter(pieces), take, progress), refs, cancel)
            finally:
                for hand in self._hands:
                    if hand.owes is not None and hand.job == self._jobs:
                        hand.call("stop", self._jobs)

        return compute

    def close(self) -> None:
        """End the workers. The connection stays."""
        for hand in self._hands:
            self._ray.kill(hand.actor)
        self._hands.clear()

    # One job

    def _computing(self, work: _Work[Any, Any], refs: tuple[Any, Any], cancel: Cancel) -> Steps[None]:
        looked = 0.0
        while True:
            cancel.look()
            if monotonic() - looked >= ASK:
                looked = monotonic()
                self._grow(work)
                self._ask()
            work.read_ahead(2 * len(self._hands) + 1)
            for hand in self._hands:
                if hand.ready and hand.owes is None:
                    self._give(hand, work, refs)
            work.take_ready()
            if work.finished:
                return
            yield self._progress(work)
            owed = {hand.owes: hand for hand in self._hands if hand.owes is not None}
            ready, _ = self._ray.wait(list(owed), num_returns=1, timeout=LOOK) if owed else ([], [])
            for ref in ready:
                self._answered(owed[ref], ref, work)

    def _progress(self, work: _Work[Any, Any]) -> Progress:
        running = [hand for hand in self._hands if hand.piece >= 0 and hand.job == self._jobs]
        if running or work.done:
            return work.progress_with(sum(hand.amount for hand in running))
        ready = sum(hand.ready for hand in self._hands)
        label = "opening the model on the workers" if self._hands else "waiting for a node with room for a worker"
        return Progress(label, ready, len(self._hands), "workers")

    def _grow(self, work: _Work[Any, Any]) -> None:
        """Start workers while there is room and work for them.

        Raises:
            ModelError: there has been no room for any for a while.
        """
        if not self._head_answers():
            return
        room = self.cluster.room(_resources(self._needs))
        if room or any(hand.ready for hand in self._hands):
            self._without_room = None
        elif self._without_room is None:
            self._without_room = monotonic()
        elif monotonic() - self._without_room >= PATIENCE:
            raise ModelError(
                f"no node is left in {self.cluster} that could run a worker", "start nodes again: ray start"
            )
        if monotonic() < self._resume:
            return
        wanted = min(room, self.most or room)
        work.read_ahead(2 * wanted + 1)
        idle = sum(hand.piece < 0 for hand in self._hands)
        for _ in range(min(wanted - len(self._hands), work.unasked - idle)):
            hand = Hand(self._make())
            hand.owes = hand.actor.open.remote()
            self._hands.append(hand)

    def _head_answers(self) -> bool:
        """Whether the head of the cluster is there.

        Raises:
            ModelError: it has not been for a while.
        """
        if self.cluster.answers():
            self._silent = None
            return True
        self._silent = self._silent or monotonic()
        if monotonic() - self._silent >= PATIENCE:
            raise ModelError(
                f"the head of {self.cluster} does not answer any more", "start the cluster again: ray start"
            )
        return False

    def _give(self, hand: Hand, work: _Work[Any, Any], refs: tuple[Any, Any]) -> None:
        """The next piece, if there is one, for a worker that is free."""
        number = work.next()
        if number is None:
            return
        if hand.job != self._jobs:
            hand.job = self._jobs
            hand.actor.begin.remote(self._jobs, *refs)
        hand.piece, hand.amount = number, 0.0
        hand.owes = hand.actor.compute.remote(work.pieces[number])

    def _ask(self) -> None:
        """Ask workers how much of their pieces is done, and read what those that were asked before have said."""
        for hand in self._hands:
            if hand.asked is not None and self._ray.wait([hand.asked], timeout=0)[0]:
                with suppress(*self._lost):  # its answer will say so
                    hand.amount = max(hand.amount, self._ray.get(hand.asked))
                hand.asked = None
            if hand.asked is None and hand.piece >= 0:
                hand.asked = hand.call("amount")

    @property
    def _lost(self) -> tuple[type[Exception], ...]:
        """The errors that mean that a worker, or what it made, is gone."""
        exceptions = self._ray.exceptions
        return (exceptions.RayActorError, exceptions.WorkerCrashedError, exceptions.ObjectLostError)

    def _answered(self, hand: Hand, ref: Any, work: _Work[Any, Any]) -> None:
        """Take what a worker has answered.

        Raises: what the worker met.
        """
        number, ours = hand.piece, hand.job == self._jobs
        hand.owes, hand.piece, hand.amount, hand.asked = None, -1, 0.0, None
        try:
            answer = self._ray.get(ref)
        except self._lost as error:
            self._hands.remove(hand)
            self._replace(error, number if ours else -1, work)
            return
        except self._ray.exceptions.RayTaskError as error:  # the worker's code is not ours
            raise ModelError(f"a worker could not start: {first_line(error)}", SAME_VERSION) from error
        if isinstance(answer, Ready):
            hand.ready, self._failed = True, 0
        elif isinstance(answer, Computed) and ours:
            work.outcomes[number] = answer.outcome
        elif isinstance(answer, Refused) and (ours or not hand.ready):
            if not hand.ready:
                self._hands.remove(hand)
                self._ray.kill(hand.actor)
            raise Cancelled if answer.kind == STOPPED else answer.error()

    def _replace(self, error: Exception, number: int, work: _Work[Any, Any]) -> None:
        """Give the piece of a lost worker to another; `_grow` starts one.

        Raises:
            ModelError: it was not the first.
        """
        if number < 0:
            if monotonic() >= self._resume:  # those that are lost together count once
                self._failed += 1
                self._resume = monotonic() + self._failed
            if self._failed >= TRIES and self.cluster.room(_resources(self._needs)):
                raise ModelError(f"{TRIES} workers ended before they were ready: {first_line(error)}", SAME_VERSION)
        elif work.lost(number) >= TRIES:
            raise ModelError(
                f"a piece of the work has ended {TRIES} workers, one after the other",
                "it may need more memory than a node has: a smaller --batch, or fewer workers: --workers",
            )


class _Work(Generic[P, R]):
    """The pieces of a job: those that are known, those that wait, and the outcomes that are not taken yet."""

    def __init__(
        self,
        job: Job[P, R],
        source: Iterator[P],
        take: Callable[[P, R], None],
        progress: Callable[[float, P], Progress],
    ) -> None:
        self._job, self._source, self._take, self._progress = job, source, take, progress
        self.pieces: dict[int, P] = {}  # read and not taken
        self.outcomes: dict[int, R] = {}
        self.done = 0.0
        self._waiting: list[int] = []
        self._read, self._following = 0, 0
        self._ended = False
        self._losses: Counter[int] = Counter()
        self._last: P | None = None

    @property
    def finished(self) -> bool:
        return self._ended and not self.pieces

    @property
    def unasked(self) -> int:
        """How many pieces wait for a worker."""
        return len(self._waiting)

    def read_ahead(self, ahead: int) -> None:
        """Read pieces up to so many that are not taken."""
        while not self._ended and len(self.pieces) < ahead:
            try:
                piece = next(self._source)
            except StopIteration:
                self._ended = True
                return
            self.pieces[self._read] = self._last = piece
            heapq.heappush(self._waiting, self._read)
            self._read += 1

    def next(self) -> int | None:
        """The number of the next piece to compute."""
        return heapq.heappop(self._waiting) if self._waiting else None

    def lost(self, number: int) -> int:
        """Let a piece be computed again; how often that has happened to it."""
        heapq.heappush(self._waiting, number)
        self._losses[number] += 1
        return self._losses[number]

    def take_ready(self) -> None:
        """Take the outcomes whose turn it is."""
        while self._following in self.outcomes:
            piece = self.pieces.pop(self._following)
            self._take(piece, self.outcomes.pop(self._following))
            self.done += self._job.size(piece)
            self._following += 1

    def progress_with(self, running: float) -> Progress:
        """How much is done, `running` of it in pieces that are computed now."""
        waiting = sum(self._job.size(self.pieces[number]) for number in self.outcomes)
        piece = self.pieces.get(self._following, self._last)
        assert piece is not None
        return self._progress(self.done + waiting + running, piece)


def _resources(needs: dict[str, float]) -> dict[str, float]:
    """What a worker needs, by Ray's names of the resources of nodes."""
    return {{"num_cpus": "CPU", "num_gpus": "GPU"}[name]: amount for name, amount in needs.items()}
