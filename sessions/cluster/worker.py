"""A worker: a process on a node of the cluster, with the model of a session open, that computes pieces of its jobs.

It opens the model once. What a job needs comes with the job: the state of the model is changed only where it is another
one. Errors come back as data. The methods `amount` and `stop` are called while a piece is computed.
"""

from __future__ import annotations

import os
import socket
import traceback
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from sessions import memory
from sessions.cancel import Cancel, looking_at
from sessions.cluster.carried import CarriedModel, CarriedState, Refused, check_code
from sessions.errors import Cancelled, ModelError, WorkbenchError
from sessions.model.info import same_model

if TYPE_CHECKING:
    from sessions.edits.ledger import Ledger
    from sessions.interventions.suppressing import Suppression
    from sessions.model.opening import OpenModel
    from sessions.model.pieces import Computer, Job


class Ready(Struct, frozen=True):
    """The worker has the model open."""

    node: str
    process: int


@dataclass(frozen=True)
class Computed:
    """The outcome of a piece."""

    outcome: Any


class Worker:
    """A model on a node, and the job that is computed on it."""

    def __init__(self, model: CarriedModel, threads: int) -> None:
        self._model, self._threads = model, threads
        self._opened: OpenModel | None = None
        self._state, self._key = ExitStack(), ""
        self._computer: Computer[Any, Any] | None = None
        self._number, self._cancel, self._amount = 0, Cancel(), 0.0
        self._suppression: Suppression | None = None
        self._ledger: Ledger | None = None
        self._refused: Refused | None = None

    def open(self) -> Ready | Refused:
        """Open the model, and check that it is the session's."""
        node = socket.gethostname()
        try:
            check_code(self._model.code, node)
            import torch

            torch.set_num_threads(self._threads)
            self._opened = self._open(node)
        except WorkbenchError as error:
            return Refused.of(error)
        except Exception as error:
            return _unforeseen(error, node)
        return Ready(node, os.getpid())

    def _open(self, node: str) -> OpenModel:
        from sessions.events import finished
        from sessions.model.opening import open_model
        from sessions.store import Store

        request = structs.asdict(self._model.opening)
        name, _ = request.pop("name"), request.pop("folder")
        folder = Path(self._model.folder)
        try:
            opened = finished(open_model(name, models=folder if folder.is_dir() else Store(None).models, **request))
        except WorkbenchError as error:
            raise ModelError(
                f"node {node} cannot open the model: {error.message}",
                error.hint or "every node needs the model's files under the same name",
            ) from error
        if not same_model(opened.info.fingerprint, self._model.fingerprint):
            raise ModelError(
                f"node {node} has other weights or another configuration under the name {name}",
                "copy the model's files to every node, or put them on a shared disk",
            )
        if opened.info.dtype != self._model.opening.dtype and self._model.opening.load_in is None:
            raise ModelError(f"node {node} opened the model in {opened.info.dtype}", "open it with that --dtype")
        return opened

    def begin(self, number: int, state: CarriedState, job: Job[Any, Any]) -> None:
        """Take another job, on the model in this state. An error is the answer to the first piece."""
        from sessions.model.pieces import Computer, WorkingModel

        assert self._opened is not None
        self._number, self._cancel, self._amount, self._refused = number, Cancel(), 0.0, None
        try:
            self._end()
            if state.key != self._key:
                self._bring_into(state)
        except WorkbenchError as error:
            self._refused = Refused.of(error)
        except Exception as error:
            self._refused = _unforeseen(error, socket.gethostname())
        free = nullcontext if self._suppression is None else self._suppression.lifted
        model = WorkingModel(
            self._opened, self._cancel, free, nullcontext if self._ledger is None else self._ledger.lifted
        )
        self._computer = Computer(model, job)

    def _bring_into(self, state: CarriedState) -> None:
        from sessions.edits.ledger import Ledger
        from sessions.interventions.suppressing import Suppression

        assert self._opened is not None
        self._state.close()
        self._state, self._key, self._suppression = ExitStack(), "", None
        self._ledger = Ledger(self._opened)
        self._state.callback(self._ledger.close)
        for edit in state.edits:
            self._ledger.apply(edit)
        if state.suppressed:
            self._suppression = Suppression(self._opened.anatomy, state.suppressed)
            self._state.enter_context(self._suppression.held())
        self._key = state.key

    def compute(self, piece: Any) -> Computed | Refused:
        """Compute a piece of the job."""
        assert self._computer is not None
        if self._refused is not None:
            return self._refused
        self._amount = 0.0
        try:
            with looking_at(self._cancel), closing(self._computer.compute(piece)) as steps:
                while True:
                    self._cancel.look()
                    try:
                        self._amount = next(steps)
                    except StopIteration as stop:
                        outcome = stop.value
                        break
        except WorkbenchError as error:
            self._end()
            return Refused.of(error)
        except Exception as error:
            self._end()
            return _unforeseen(error, socket.gethostname())
        to_host = getattr(outcome, "cpu", None)
        return Computed(outcome if to_host is None else to_host())

    def amount(self) -> float:
        """How much of the piece is done."""
        return self._amount

    def stop(self, number: int) -> None:
        """Stop the job of this number, if it is the one that is computed."""
        if number == self._number:
            self._cancel.request()

    def _end(self) -> None:
        if self._computer is not None:
            self._computer.close()


def _unforeseen(error: Exception, node: str) -> Refused:
    """An error that is not one of the workbench; memory that it held is given back."""
    kind = "memory" if memory.is_lacking(error) else "defect"
    refused = Refused(kind, f"on node {node}: {type(error).__name__}: {error}", trace=traceback.format_exc())
    if kind == "memory":
        memory.let_go(error)
        memory.give_back()
    return refused


#: The kind of error of a piece that was stopped.
STOPPED = Cancelled.kind
