"""`AttachedWorkbench`: the session of a running host whose verbs are Python methods; `workbench.attach` makes it.

Its lines wait for those of other clients, and every client sees them: an app beside it shows what Python did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

from sessions.events import Event
from sessions.procedures.comparing import CURRENT
from workbench.host import JOURNAL
from workbench.host.client import Client
from workbench.host.places import HostError
from workbench.host.starting import find
from workbench.interrupts import interruptible
from workbench.notebooks import is_notebook
from workbench.running import CommandRunner

if TYPE_CHECKING:
    from torch import Tensor


class AttachedWorkbench(CommandRunner):
    """The session of a running host, whose verbs are methods; see `CommandRunner` for what these take and return.

        wb = workbench.attach("default")
        wb.ablate("top50").plot()

    Paths are relative to the folder of this process. An interrupt stops the line in the host.

    Args:
        name: the host's name.
        home: the folder that holds the host's files; None for the user's data folder.
        on_event: called with each event of each command.
        progress: whether a bar shows the progress of a command; None for yes, unless `on_event` is given.

    Raises:
        WorkbenchError: no host of that name runs here, or it does not answer.
    """

    def __init__(
        self,
        name: str = JOURNAL,
        home: str | Path | None = None,
        on_event: Callable[[Event], None] | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(on_event, progress)
        found = find(name, None if home is None else Path(home))
        if found is None:
            raise HostError(
                f"there is no host '{name}'",
                f"start it in a terminal: workbench attach {name}; workbench hosts lists all",
            )
        found.author = f"{'notebook' if is_notebook() else 'python'} {os.getpid()}"
        found.welcome()
        self._client: Client = found

    def __repr__(self) -> str:
        model = self._client.state().model
        return f"<AttachedWorkbench: host {self._client.name}, {model or 'no model'}, home {self.home}>"

    @property
    def home(self) -> Path:
        return self._client.home

    def _events(self, line: str) -> Generator[Event, None, None]:
        with interruptible(self._client.cancel):
            yield from self._client.run(line)

    def tensor(self, name: str = CURRENT, layer: int | None = None, *, of: str = "attribution") -> Tensor:
        from workbench.tensors import tensor_of_host

        return tensor_of_host(self._client.place, self.info().model, name, layer, of)

    def close(self) -> None:
        """Detach; the host goes on."""
        self._client.close()
