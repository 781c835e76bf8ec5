"""`Workbench`: a session whose verbs are Python methods; `methods` makes these from the grammar.

A method builds the line a user would type, runs it like any other line and returns the result as data; a command
that fails raises. Nothing is written here for a single verb, so what the REPL can do, Python can.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from commands.line import is_blank
from commands.running import run
from sessions.errors import Cancelled, WorkbenchError
from sessions.events import Event, Failed, Result
from sessions.procedures.comparing import CURRENT
from sessions.session import Session
from workbench.host import JOURNAL
from workbench.methods import Verbs
from workbench.notebooks import show_views

if TYPE_CHECKING:
    from torch import Tensor


class Workbench(Verbs):
    """A session whose verbs are methods: `wb.discover(" Austin")`, `wb.ablate("top50")`.

    `-` in a verb reads `_`, and a verb that is a Python keyword gets a `_` at its end (`wb.import_`). Arguments are
    those of the verb, flags by name: `wb.discover(" Austin", vs=" Dallas")`; `help(wb.discover)` says which. A list may
    stand where a verb reads a file of prompts, samples or tasks: `wb.contrast(["I am calm"], ["I am angry"])`.

    Args:
        home: where artifacts are kept; the user's data folder when left out.
        on_event: called with every event of every command, as it happens.

    Raises:
        WorkbenchError: the home cannot be used; from a method: the command failed, and the session goes on.
    """

    def __init__(self, home: str | Path | None = None, on_event: Callable[[Event], None] | None = None) -> None:
        show_views()
        self.session = Session(None if home is None else Path(home), journal=JOURNAL)
        self._on_event = on_event

    def exec(self, line: str) -> Any:
        """Run one line as it would be typed, and return its result (None for a blank line or a comment).

        An interrupt (ctrl-c, or the stop button of a notebook) ends the command and leaves the session usable.
        """
        if is_blank(line):
            return None
        value = None
        with closing(run(self.session, line)) as events:
            for event in events:
                if self._on_event is not None:
                    self._on_event(event)
                if isinstance(event, Failed):
                    raise _error(event)
                if isinstance(event, Result):
                    value = event.value
        return value

    def tensor(self, name: str = CURRENT, layer: int | None = None, *, of: str = "attribution") -> Tensor:
        """What is saved under a name, or the session's own circuit, as float32 numbers on the CPU.

        Args:
            name: `current`, a circuit's name, or `vector:joy`.
            layer: of a vector, that of this layer alone, `[d_model]` (`[d_mlp]` at the site neurons); of a circuit,
                that row. Otherwise a vector is `[layers, d_model]`, its layers in rising order, and a circuit
                `[n_layers, d_mlp]`, 0 where it has no neuron.
            of: of a circuit: attribution, effect or activation.

        Raises:
            WorkbenchError: there is none of that name, it was made on another model, or has nothing at that layer.
        """
        from workbench.tensors import tensor_of

        return tensor_of(self.session, name, layer, of)

    def close(self) -> None:
        """Let go of the model."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _error(failed: Failed) -> WorkbenchError:
    """The error that a `Failed` event stands for, of its own class."""
    if failed.error == Cancelled.kind:
        return Cancelled()
    kinds = {kind.kind: kind for kind in WorkbenchError.__subclasses__()}
    message = f"{failed.where}: {failed.message}" if failed.where else failed.message
    return kinds.get(failed.error, WorkbenchError)(message, failed.hint)
