"""Boards that have heard something, and what a pane of lines shows of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from textual.geometry import Region
from textual.pilot import Pilot

from sessions.events import Event
from tests.workbench.app.alone import Alone, alone, press
from workbench.app.host_listener import Heard, Told
from workbench.app.pane import Pane
from workbench.app.session_view import SessionView
from workbench.host.messages import Finished


def about(ticket: str, *events: Event, end: bool = False) -> list[Heard]:
    """Events of a line, and where wanted its end."""
    told: list[Heard] = [Told(ticket, "me", event) for event in events]
    return [*told, Finished(number=1, ticket=ticket, author="me")] if end else told


def fed(heard: Iterable[Heard]) -> SessionView:
    """A view of a host that is well, which has said all this."""
    view = SessionView()
    view.host = ""
    for each in heard:
        view.feed(each)
    return view


def until(heard: Iterable[Heard], line: str, whole: bool = True) -> SessionView:
    """A view that has heard everything until a line that starts so has ended or, if not `whole`, said some words."""
    view = SessionView()
    for each in heard:
        view.feed(each)
        last = view.entries[-1] if view.entries else None
        if last and last.line.startswith(line) and (last.outcome is not None if whole else len(last.texts) > 1):
            return view
    raise AssertionError(f"nothing was heard of {line}")


def tell(pane: Pane, view: SessionView, *heard: Heard) -> None:
    """Let the view hear more, and show the pane what changed."""
    for each in heard:
        pane.show(view, view.feed(each))


def rows(pane: Pane) -> list[str]:
    """The rows of a pane, each as wide as the pane."""
    found = [pane.render_line(y) for y in range(pane.size.height)]
    assert [line.cell_length for line in found] == [pane.size.width] * pane.size.height
    return [line.text.rstrip() for line in found]


def shown(pane: Pane, view: SessionView, size: tuple[int, int] = (80, 20), *keys: str) -> list[str]:
    """The rows of a pane that has the screen for itself, after some keys."""
    found: list[str] = []

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, *keys)
        found.extend(rows(pane))

    alone(pane, view, then, size)
    return found


def watched(kind: type[Pane], painted: list[int]) -> Any:
    """A pane of this kind that writes down how many cells it asks to be painted again."""

    class Watched(kind):  # type: ignore[misc, valid-type]
        def refresh(self, *regions: Region, **options: Any) -> Any:
            painted.append(sum(region.area for region in regions) if regions else self.size.area)
            return super().refresh(*regions, **options)

    return Watched
