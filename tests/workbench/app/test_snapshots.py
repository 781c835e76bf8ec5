"""What stands on the screen, compared with what stood there when somebody looked at it and found it good.

A snapshot is a text: the characters first, which are the same in every theme, then for each theme its styles and, row
by row, how many cells have which. `pytest --snapshot-update` writes them anew; look at the difference then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pytest
from msgspec import structs
from rich.style import Style
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation
from textual.pilot import Pilot

from sessions.atlas.findings import Peak
from sessions.events import Event, Result, Started, State, Text
from sessions.results import NeuronTable
from tests.workbench.app.still import Still, played, until
from workbench.app.host_listener import Heard, Told
from workbench.app.themes import DARK, LIGHT, NONE, SIXTEEN
from workbench.host.messages import Finished

SIZES = [(80, 24), (120, 40), (160, 48)]
#: What is done before one looks, by the name of the snapshot.
VIEWS: dict[str, Sequence[str]] = {
    "all": (),
    "running": (),
    "starting": (),
    "history": ("f2", "ctrl+t", "up", "up"),
    "result": ("f3", "ctrl+t"),
    "table": ("f2", *["up"] * 8, "f3", "ctrl+t", "down", "space", "greater_than_sign"),
    "neurons": ("f4", "ctrl+t", "down", "space", "down", "down", "space"),
    "corpus": ("f4", "ctrl+t", "down", "down", "down"),
    "corpus-card": ("f4", "down", "enter"),
    "corpus-shelf": ("f8", "ctrl+t"),
    "chances": ("f5", "ctrl+t"),
    "layers": ("f6", "ctrl+t", "up", "right"),
    "jobs": ("f7", "ctrl+t"),
    "shelf": ("f8", "ctrl+t"),
    "card": ("f4", "down", "enter"),
    "palette": ("ctrl+p", *"abl"),
    "help": ("f1",),
    "jump": ("f4", "ctrl+o"),
    "completion": (*"discover", "space", "minus", "minus", "tab"),
    "error": (*"abalte", "space", *"top10", "enter"),
}
#: The first theme is the one that the app starts in.
LOOKS = (DARK, LIGHT, SIXTEEN, NONE)


class Texts(SingleFileSnapshotExtension):
    """One text file for each snapshot."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        return str(Path(test_location.filepath).parent / "snapshots" / test_location.basename)


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(Texts)


def looks(home: Path, heard: Sequence[Heard], size: tuple[int, int], keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The characters of the screen and its styles, by theme: the themes are put on one after another."""
    app = Still(home, heard, LOOKS[0])
    seen: dict[str, tuple[str, str]] = {}

    async def steps(pilot: Pilot[str]) -> None:
        for key in keys:
            await pilot.press(key)
            await app.workers.wait_for_complete()
            await pilot.pause()
        if keys[-1:] == ("tab",):
            await until(pilot, lambda: app.workspace.choices.display)
        await pilot.pause(0.3)
        for theme in LOOKS:
            app.theme = theme
            await pilot.pause()
            rows = app.screen._compositor.render_strips()
            cells = [
                [(_written(segment.style), segment.cell_length) for segment in row if segment.text] for row in rows
            ]
            seen[theme] = "\n".join(row.text.rstrip() for row in rows), _styles(cells)

    played(app, steps, size)
    return seen


def _written(style: Style | None) -> str:
    return str(style.without_color + Style.from_color(style.color, style.bgcolor)) if style else "none"


def _styles(rows: Sequence[Sequence[tuple[str, int]]]) -> str:
    """The styles there are, each with a letter, then the rows: which letter how often, a usual row left out."""
    names: dict[str, str] = {}
    drawn = []
    for number, row in enumerate(rows, 1):
        runs = [(style, sum(length for _, length in run)) for style, run in groupby(row, key=lambda cell: cell[0])]
        for style, _ in runs:
            names.setdefault(style, chr(ord("a") + len(names)) if len(names) < 26 else f"A{len(names)}")
        if len(runs) > 1:
            drawn.append(f"{number:>3}  " + " ".join(f"{names[style]}{length}" for style, length in runs))
        elif names[runs[0][0]] != "a":
            drawn.append(f"{number:>3}  {names[runs[0][0]]}")
    return "\n".join([*(f"  {letter}  {style}" for style, letter in names.items()), *drawn])


def _heard(view: str, recorded: Sequence[Heard]) -> Sequence[Heard]:
    """All there is; or the first of it, until the texts of `amplify` are being written; or nothing."""
    if view == "starting":
        return ()
    if view.startswith("corpus"):
        return [*recorded, *_over_corpus(recorded)]
    if view != "running":
        return recorded
    began = next(at for at, each in enumerate(recorded) if isinstance(each, Told) and _is_amplify(each.event))
    texts = [at for at, each in enumerate(recorded) if at > began and isinstance(each, Told) and _is_text(each.event)]
    return recorded[: texts[9]]


def _over_corpus(recorded: Sequence[Heard]) -> Iterator[Heard]:
    """What is heard of the same neurons once there is an atlas, and an autoencoder is open."""
    told = [each for each in recorded if isinstance(each, Told)]
    state = next(each.event for each in reversed(told) if isinstance(each.event, State))
    table = next(
        each.event
        for each in told
        if isinstance(each.event, Result) and isinstance(each.event.value, NeuronTable)
    )  # fmt: skip
    rows = [
        structs.replace(
            row,
            peak=Peak(
                value=(-1) ** at * (40.5 - at), document=at, position=26, token=f" {row.neuron.index}[b]",
                before=("The", " capital", " of", " Texas"), after=(" Austin", ",", " which", " man", "y"),
            ),
            rate=at / 100,
        )
        for at, row in enumerate(table.value.rows)
    ]  # fmt: skip
    known = structs.replace(table.value, rows=(structs.replace(rows[0], peak=None, rate=None), *rows[1:]))
    yield Told("corpus", "me", structs.replace(state, atlas="demo", sae="/sae/[b] --layer 12"))
    yield Told("corpus", "me", Started("neurons", "neurons top20"))
    yield Told("corpus", "me", Result(structs.replace(known, atlas="demo", corpus="paragraphs"), 0.01))
    yield Finished(number=0, ticket="corpus", author="me")


def _is_amplify(event: Event) -> bool:
    return isinstance(event, Started) and event.verb == "amplify"


def _is_text(event: Event) -> bool:
    return isinstance(event, Text) and bool(event.arm)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("view", VIEWS)
def test_looks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[Heard],
    snapshot: SnapshotAssertion,
    view: str,
    size: tuple[int, int],
) -> None:
    monkeypatch.chdir(tmp_path)  # no command files but the workbench's own
    monkeypatch.setattr(time, "time", lambda: 1e9)  # how long something has run is not how it looks
    heard = _heard(view, recorded)
    seen = looks(tmp_path, heard, size, VIEWS[view])
    characters = {text for text, _ in seen.values()}
    assert len(characters) == 1, "colour says what no character says"
    parts = [characters.pop(), *(f"── {theme}\n{styles}" for theme, (_, styles) in seen.items())]
    assert "\n".join(parts) + "\n" == snapshot
