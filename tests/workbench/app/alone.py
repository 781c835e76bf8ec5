"""A pane alone on a screen: what it draws, and what it says to the app."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual.app import App, ComposeResult
from textual.pilot import Pilot

from workbench.app.pane import Pane
from workbench.app.session_view import EVERYTHING, SessionView

SIZES = ((80, 24), (160, 48))


class Alone(App[None]):
    """An app of one pane. `typed`, `sent`, `copied`: what came from it."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, pane: Pane, view: SessionView) -> None:
        super().__init__()
        self.pane, self.view = pane, view
        self.typed: list[str] = []
        self.sent: list[str] = []
        self.copied: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.pane.show(self.view, EVERYTHING)
        self.pane.focus()

    def on_pane_typed(self, message: Pane.Typed) -> None:
        self.typed.append(message.line)

    def on_pane_sent(self, message: Pane.Sent) -> None:
        self.sent.append(message.line)

    def action_copy(self) -> None:
        self.copied.append(self.screen.chosen())  # type: ignore[attr-defined]


def alone(
    pane: Pane,
    view: SessionView,
    then: Callable[[Alone, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
    kind: type[Alone] = Alone,
) -> Alone:
    """Show the pane the view, and go on with that."""
    app = kind(pane, view)

    async def shown() -> None:
        async with app.run_test(size=size) as pilot:
            await rest(pilot)
            await then(app, pilot)

    asyncio.run(shown())
    return app


async def rest(pilot: Pilot[None]) -> None:
    """Until nothing is under way."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, and wait for what comes of them."""
    await pilot.press(*keys)
    await rest(pilot)


def lines(app: App[None]) -> list[str]:
    """What stands on the screen, line by line."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]
