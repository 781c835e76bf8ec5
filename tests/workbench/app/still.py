"""The app without a host, for what a screen does with what was heard; what would be sent is kept in `sent`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from textual.keys import _character_to_key
from textual.pilot import Pilot

from workbench.app.app import WorkbenchApp
from workbench.app.host_listener import Heard
from workbench.app.session_view import EVERYTHING
from workbench.app.shell import Shell


class Still(WorkbenchApp):
    """The app on a session that is over."""

    def __init__(self, home: Path, heard: Sequence[Heard] = (), theme: str = "dark") -> None:
        super().__init__("default", home, theme=theme)
        self.sent: list[str] = []
        for each in heard:
            self.view.feed(each)

    def begin(self) -> None:
        Shell.begin(self)
        self.show_view(EVERYTHING)

    def run_lines(self, lines: Sequence[str]) -> None:
        self.sent += lines


Steps = Callable[["Pilot[str]"], Awaitable[None]]


def played(app: WorkbenchApp, steps: Steps, size: tuple[int, int] = (120, 40)) -> None:
    """Run the app on a screen of this size, and do something with it."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(pilot)

    asyncio.run(run())


async def typed(pilot: Pilot[str], text: str) -> None:
    """Type a text, key by key."""
    await pilot.press(*map(_character_to_key, text))


async def until(pilot: Pilot[str], true: Callable[[], object], seconds: float = 10) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        await pilot.pause(0.02)
