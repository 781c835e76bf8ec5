"""Runs lines for Python: shows progress, returns the result, and raises if the command fails.

`workbench.python` has the session of this process, `workbench.attached` that of a host. No verb has code of its own
here, so Python can do whatever the REPL can.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from commands.line import is_blank
from sessions.errors import Cancelled, WorkbenchError
from sessions.events import Event, Failed, Result
from sessions.procedures.comparing import CURRENT
from workbench.methods import Verbs
from workbench.notebooks import is_notebook, show_views
from workbench.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor


class CommandRunner(Verbs):
    """A session whose verbs are methods: what `Workbench` and `AttachedWorkbench` have in common.

    A method's name is the verb's with `_` for `-` and blanks (`wb.atlas_build`), and with a `_` at the end if it is a
    Python keyword (`wb.import_`). Arguments are those of the verb, options by name:
    `wb.discover(" Austin", vs=" Dallas")`; `help(wb.discover)` lists them. Where a verb reads a file of prompts,
    samples or tasks, a list works too: `wb.contrast(["I am calm"], ["I am angry"])`.

    A method returns its result as data. `to_pandas()` and `plot()` of a result are tables and drawings of it; in a
    notebook it displays itself. A method raises `WorkbenchError` if its command fails; the session remains usable.
    """

    def __init__(self, on_event: Callable[[Event], None] | None, progress: bool | None) -> None:
        show_views()
        self._on_event = on_event
        self._progress = on_event is None if progress is None else progress

    @property
    def home(self) -> Path:
        """The folder of saved artifacts."""
        raise NotImplementedError

    def exec(self, line: str) -> Any:
        """Run one line as if it were typed. Returns its result; None for a blank line or a comment.

        An interrupt (ctrl-c, or the stop button of a notebook) stops the command; the session remains usable.
        """
        if is_blank(line):
            return None
        value = None
        bar = progress_bar(is_notebook()) if self._progress else None
        try:
            with closing(self._events(line)) as events:
                for event in events:
                    if bar is not None:
                        bar.hear(event)
                    if self._on_event is not None:
                        self._on_event(event)
                    if isinstance(event, Failed):
                        raise _error(event)
                    if isinstance(event, Result):
                        value = event.value
        finally:
            if bar is not None:
                bar.close()
        return value

    def _events(self, line: str) -> Generator[Event, None, None]:
        """The events of a line that is run."""
        raise NotImplementedError

    def tensor(self, name: str = CURRENT, layer: int | None = None, *, of: str = "attribution") -> Tensor:
        """A circuit or a saved vector as a float32 tensor on the CPU.

        A circuit is `[n_layers, d_mlp]`, 0 where it has no neuron. A vector is `[layers, d_model]`, its layers in
        rising order; at the site `neurons` the last dimension is `d_mlp`.

        Args:
            name: `current` for the session's circuit, a saved circuit's name, or `vector:NAME`.
            layer: the layer to return alone, without the first dimension; None for all.
            of: the number of a circuit's neurons: attribution, effect or activation.

        Raises:
            WorkbenchError: nothing has that name, it was made on another model, or it has nothing at that layer.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the session."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _error(failed: Failed) -> WorkbenchError:
    """The exception for a `Failed` event, of the class that the event names."""
    if failed.error == Cancelled.kind:
        return Cancelled()
    kinds = {kind.kind: kind for kind in WorkbenchError.__subclasses__()}
    message = f"{failed.where}: {failed.message}" if failed.where else failed.message
    return kinds.get(failed.error, WorkbenchError)(message, failed.hint)
