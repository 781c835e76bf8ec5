"""`Workbench`: a session of this process whose verbs are Python methods; `workbench.open` makes it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

from commands.running import run
from sessions.events import Event
from sessions.procedures.comparing import CURRENT
from sessions.session import Session
from workbench.host import JOURNAL
from workbench.running import CommandRunner

if TYPE_CHECKING:
    from torch import Tensor


class Workbench(CommandRunner):
    """A session of this process, whose verbs are methods; see `CommandRunner` for what these take and return.

        wb = workbench.open("smollm2")
        wb.prompt("The capital of Texas is", raw=True)
        wb.discover(" Austin", vs=" Dallas").to_pandas()

    Args:
        home: folder of saved artifacts; None for the user's data folder.
        on_event: called with each event of each command.
        progress: whether a bar shows the progress of a command; None for yes, unless `on_event` is given.

    Raises:
        WorkbenchError: the home cannot be used.
    """

    def __init__(
        self,
        home: str | Path | None = None,
        on_event: Callable[[Event], None] | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(on_event, progress)
        self.session = Session(None if home is None else Path(home), journal=JOURNAL)

    def __repr__(self) -> str:
        state = self.session.state()
        return f"<Workbench: {state.model or 'no model'}, home {self.home}>"

    @property
    def home(self) -> Path:
        return self.session.home

    def _events(self, line: str) -> Generator[Event, None, None]:
        return run(self.session, line)

    def tensor(self, name: str = CURRENT, layer: int | None = None, *, of: str = "attribution") -> Tensor:
        from workbench.tensors import tensor_of

        return tensor_of(self.session, name, layer, of)

    def close(self) -> None:
        """Close the model."""
        self.session.close()
