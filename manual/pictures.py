"""Draws the pictures of the app, `docs/pictures/*.svg`: `python -m manual.pictures`.

The app is driven without a terminal and shown what a host said in a real session, which was recorded. So a picture
shows results that were computed, on the screen that there is now. Panes are named by their headings and keys by the
names of their bindings: a picture of a pane or an action that is gone cannot be drawn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from msgspec import structs
from textual.pilot import Pilot

from manual.markdown import DOCS
from manual.svg import self_contained
from sessions.circuits.circuit import Circuit
from sessions.events import Result
from sessions.results import Discovered, Saved
from sessions.store import Store
from tests.workbench.app.still import Still, played
from workbench.app.bindings import by_id, split
from workbench.app.host_listener import Heard, Told, heard
from workbench.app.shell import PANES, Shell
from workbench.app.themes import DARK, LIGHT
from workbench.host.messages import read_reply

FOLDER = DOCS / "pictures"
#: A session on smollm2: model, prompt, generate, top, discover, neurons, ablate, amplify, sweep, and two failures.
RECORDED = Path(__file__).parents[1] / "tests" / "data" / "app" / "capital.jsonl"
WIDE, SMALL = (132, 40), (80, 24)


@dataclass(frozen=True)
class Picture:
    """A picture: its title, and what is done before it is taken.

    `pane` is the heading of the pane to go to, "" for the command line. `actions` are names of bindings, `typed` is
    typed after them. `until` is the verb whose result is the last that is heard, "" for everything.
    """

    title: str
    pane: str = ""
    actions: tuple[str, ...] = ()
    typed: str = ""
    until: str = ""
    size: tuple[int, int] = WIDE
    theme: str = DARK


PICTURES = {
    "app": Picture("What ablating a hundred neurons does"),
    "light": Picture("The light theme", pane="Result", until="sweep", theme=LIGHT),
    "neurons": Picture(
        "Neurons, two of them marked",
        pane="Neurons",
        actions=("app.zoom", "neurons.mark", "table.down", "neurons.mark"),
        until="neurons",
        size=(100, 30),
    ),
    "sweep": Picture("A sweep", pane="Result", actions=("app.zoom",), until="sweep", size=(100, 30)),
    "palette": Picture("The palette", actions=("app.palette",), typed="abl", until="neurons", size=(100, 30)),
    "small": Picture("A small terminal", pane="Result", until="ablate", size=SMALL),
}


def recorded(until: str = "") -> list[Heard]:
    """What was heard, up to the end of the first line of a verb."""
    replies = map(read_reply, RECORDED.read_bytes().splitlines())
    told = [each for each in map(heard, replies) if each is not None]
    if not until:
        return told
    started = [each for each in told if isinstance(each, Told) and getattr(each.event, "verb", "") == until]
    if not started:
        raise ValueError(f"{RECORDED.name} has no line of the verb {until}")
    ticket = started[0].ticket
    last = max(at for at, each in enumerate(told) if getattr(each, "ticket", "") == ticket)
    return told[: last + 1]


def keep(told: Sequence[Heard], home: Path) -> None:
    """Save the circuits in a home that were saved in the session."""
    circuit: Circuit | None = None
    results = (each.event.value for each in told if isinstance(each, Told) and isinstance(each.event, Result))
    for value in results:
        match value:
            case Discovered(circuit=circuit):
                pass
            case Saved(name=name) if circuit is not None:
                model, print_of = circuit.model, circuit.fingerprint
                kept = structs.replace(circuit, name=name)
                Store(home).save("circuit", name, kept, model=model, fingerprint=print_of, command=f"save {name}")


def drawn(name: str) -> str:
    """A picture as SVG."""
    picture = PICTURES[name]
    keys, told = keys_of(picture), recorded(picture.until)
    taken: list[str] = []
    with TemporaryDirectory() as home, patch.object(time, "time", lambda: 1e9):
        keep(told, Path(home))
        app = Still(Path(home), told, picture.theme)

        async def steps(pilot: Pilot[str]) -> None:
            for key in keys:
                await pilot.press(key)
                await app.workers.wait_for_complete()
                await pilot.pause()
            await pilot.pause(0.3)
            await pilot.pause()
            taken.append(app.export_screenshot(title=picture.title))

        played(app, steps, picture.size)
    return self_contained(taken[0])


def keys_of(picture: Picture) -> list[str]:
    """The keys that a picture needs.

    Raises:
        ValueError: there is no such pane or action.
    """
    numbers = {kind.heading: number for number, kind in PANES.items()}
    if picture.pane and picture.pane not in numbers:
        raise ValueError(f"there is no pane {picture.pane!r}; there are {', '.join(numbers)}")
    bound = by_id(Shell.keyed().values())
    names = [f"app.pane{numbers[picture.pane]}"] if picture.pane else []
    missing = [name for name in (*names, *picture.actions) if name not in bound]
    if missing:
        raise ValueError(f"there is no action {missing[0]!r}; there are {', '.join(bound)}")
    return [*(split(bound[name])[0] for name in (*names, *picture.actions)), *picture.typed]


def write(names: Sequence[str] = tuple(PICTURES)) -> None:
    """Draw the pictures, and remove those that are no longer declared."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.svg"):
        if old.stem not in PICTURES:
            old.unlink()
    for name in names:
        (FOLDER / f"{name}.svg").write_text(drawn(name), encoding="utf-8")


if __name__ == "__main__":
    write()
