"""Jobs says what runs and what waits; the shelf, and the line at the top, what the session holds and what is saved."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.pilot import Pilot

from sessions.events import Progress, Result, Started, State
from sessions.results import Deleted
from tests.workbench.app.alone import Alone, alone, press
from tests.workbench.app.telling import about, fed, rows, shown, tell, watched
from workbench.app.bars import status
from workbench.app.host_listener import Gone, Heard, Starting
from workbench.app.panes.jobs import JobsPane
from workbench.app.panes.shelf import ShelfPane, saved_in
from workbench.app.session_view import SessionView
from workbench.host.messages import Busy, Queued, Welcome
from workbench.writing import inline


def saved_home(folder: Path) -> Path:
    """A home with two circuits and a round."""
    for path in ("circuits/texas.json", "circuits/austin.json"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("{}")
    (folder / "rounds" / "lessons-1").mkdir(parents=True)
    return folder


def running(*lines: str) -> SessionView:
    """A view on which the first line runs, and the others wait."""
    first, *others = lines
    view = fed(about("0", Started("", first), Progress("prompts", 3, 12, "prompts")))
    for number, line in enumerate(others, 1):
        view.feed(Queued(number=number, ticket=str(number), author="pts/3", line=line, before=number))
    return view


def test_what_runs_has_its_progress_on_one_line() -> None:
    (text,) = shown(JobsPane(), running("sweep all 0 1 2"), (100, 1))
    assert text.startswith("sweep all 0 1 2  prompts  3/12 prompts  ████████──────────")
    assert text.endswith("  00:00  esc cancel")


def test_what_waits_is_counted_and_where_there_is_room_listed() -> None:
    text = shown(JobsPane(), running("sweep all 0 1 2", "top", "generate"), (100, 4))
    assert text[0].endswith("esc cancel  +2 waiting")
    assert text[1:3] == ["> top" + " " * 90 + "pts/3", "> generate" + " " * 85 + "pts/3"]


def test_a_command_file_says_where_it_is() -> None:
    view = fed(about("0", Started("", "run capital.wb"), Started("", "top 5", "capital.wb:3"), Progress("x", 1, 2)))
    assert shown(JobsPane(), view, (100, 1))[0].startswith("run capital.wb › top 5  x  1/2")


def test_bytes_are_told_in_megabytes() -> None:
    view = fed(about("0", Started("", "model smollm2"), Progress("downloading", 3.1e6, 270.9e6, "B")))
    assert "downloading  3.1/270.9 MB" in shown(JobsPane(), view, (100, 1))[0]


def test_in_a_narrow_line_the_least_goes_first() -> None:
    view = running("sweep all 0 1 2", "top")
    assert shown(JobsPane(), view, (50, 1))[0].startswith("sweep all 0")

    for width in range(1, 60, 7):
        (text,) = shown(JobsPane(), view, (width, 1))
        assert text[:1] in "s…"


def test_the_line_that_ran_before_this_client_came_has_its_own_time() -> None:
    busy = Busy("generate", "0", "pts/1")
    since = time.time() - 130
    welcome = Welcome(name="default", pid=1, began=0.0, next=2, state=State(), busy=busy, since=since)
    assert "02:1" in shown(JobsPane(), fed([welcome, *about("0", Started("", "generate"))]), (80, 1))[0]


def test_the_time_that_is_left_is_guessed_from_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    pane = JobsPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 30)
        tell(pane, view, *about("0", Progress("prompts", 6, 12, "prompts")))
        assert "01:00 left" in rows(pane)[0]
        monkeypatch.undo()

    view = running("sweep all 0 1 2")
    alone(pane, view, steps, (110, 1))


def test_the_jobs_pane_paints_nothing_while_nothing_runs() -> None:
    painted: list[int] = []
    pane = watched(JobsPane, painted)()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        assert rows(pane)[0].startswith("sweep")
        await pilot.pause(1.2)
        assert painted  # the clock
        tell(pane, view, *about("0", Result(Deleted(name="x", restore="")), end=True))
        assert rows(pane) == ["idle"]
        await pilot.pause()
        painted.clear()
        await pilot.pause(1.2)
        assert painted == []

    view = running("sweep all 0 1 2")
    alone(pane, view, steps, (80, 1))


def test_a_host_that_is_gone_is_said_with_what_to_do() -> None:
    view = running("sweep all 0 1 2")
    view.feed(Gone("the host ended suddenly"))
    text = shown(JobsPane(), view, (80, 3))
    assert text[:2] == ["✗ the host ended suddenly", "→ the next line you run starts it again"]
    view.feed(Starting("default"))
    assert shown(JobsPane(), view, (80, 1)) == ["starting the host …"]


def test_the_state_is_all_there(view: SessionView) -> None:
    text = shown(ShelfPane(), view, (70, 12))
    assert text[:4] == [
        "model    smollm2 · float32 on cpu",
        "prompt   What is the capital of Texas?",
        "seed     The capital of Texas is",
        "circuit  texas · 200 neurons · top 200",
    ]
    assert text[4].startswith('target   logit " Austin" − logit " Houston" · = +1.943')
    assert text[5].startswith("method   lrp, frozen attention · conservation off by ")
    assert text[6] == "host     default"


def test_the_autoencoder_and_the_atlas_in_use_are_named() -> None:
    state = State(model="m", sae="/sae/[b] --layer 12", atlas="demo")
    text = shown(ShelfPane(), fed(about("a", state)), (60, 9))
    assert {"sae      /sae/[b] --layer 12", "atlas    demo"} <= set(text)
    assert not {"sae", "atlas"} & {line.split()[0] for line in shown(ShelfPane(), fed([]), (60, 9)) if line}


def test_in_a_narrow_column_values_stand_below_their_names(view: SessionView) -> None:
    text = shown(ShelfPane(), view, (20, 30))
    assert text[:6] == ["model", " smollm2", " float32 on cpu", "prompt", " What is the capital", " of Texas?"]


def test_without_a_model_the_state_says_how_to_open_one() -> None:
    assert "none: model smollm2 opens one" in shown(ShelfPane(), fed([]), (60, 5))[0]


def test_a_circuit_that_only_the_host_knows_has_its_size() -> None:
    view = fed(about("a", State(model="m", circuit="texas", circuit_size=200)))
    assert "circuit  texas · 200 neurons" in shown(ShelfPane(), view, (60, 6))


def test_the_status_line_loses_what_matters_least(view: SessionView) -> None:
    assert status(view, 100).plain == (
        ' smollm2 float32 cpu │ circuit texas 200 │ "What is the capital of Texas?" │ host default'
    )
    assert status(view, 60).plain == " smollm2 float32 cpu │ circuit texas 200 │ host default"
    assert status(view, 45).plain == " smollm2 float32 cpu │ circuit texas 200"
    assert status(view, 30).plain == " smollm2 float32 cpu"
    view.host = "the host ended suddenly"
    assert status(view, 60).plain == " smollm2 float32 cpu │ host default: the host ended suddenly"


@given(st.text(), st.text(), st.text(), st.integers(1, 200))
def test_the_status_line_is_never_too_long(model: str, prompt: str, host: str, width: int) -> None:
    view = fed(about("a", State(model=model, dtype="x", device="y", prompt=prompt, circuit=prompt, circuit_size=7)))
    view.name = view.host = host
    text = status(view, width)
    assert cell_len(text.plain) <= width and text.plain == inline(text.plain)


def test_what_is_saved_is_listed_by_kind_and_opened_compared_and_deleted_from_there(tmp_path: Path) -> None:
    home = saved_home(tmp_path)
    pane = ShelfPane()
    pane.home = home

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        text = rows(pane)
        at = text.index("circuits 2")
        assert text[at + 1 : at + 3] == ["▸● austin", "   texas"]
        assert text[text.index("rounds 1") + 1] == "   lessons-1"
        await press(pilot, "down", "enter", "c", "x", "down", "enter")
        assert app.typed == ["load texas", "compare texas ", "delete texas"]
        assert app.sent == ["recruits lessons-1"]

    alone(pane, fed(about("a", State(model="m", circuit="austin", circuit_size=3))), steps, (40, 30))


def test_a_shelf_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    (tmp_path / "rounds").write_text("not a folder")
    assert saved_in(tmp_path / "nowhere") == [] and saved_in(tmp_path) == []


@pytest.mark.parametrize("kind", [JobsPane, ShelfPane])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (12, 3), (300, 80)])
def test_no_size_is_too_small_or_too_large(
    recorded: list[Heard], kind: type[JobsPane | ShelfPane], size: tuple[int, int]
) -> None:
    view = fed(recorded[:49])
    assert view.running is not None
    assert len(shown(kind(), view, size, "down", "end", "home")) == size[1]
