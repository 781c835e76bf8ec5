"""The board: made of what is heard alone, so that whoever comes late knows the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sessions.atlas.findings import Peak
from sessions.events import Failed, Progress, Result, Started, State, Text
from sessions.results import Deleted
from workbench.app.host_listener import Gone, Heard, Told
from workbench.app.session_view import EVERYTHING, Facet, SessionView
from workbench.host.messages import JOURNAL_TICKET, Finished, Queued, Welcome


def fed(heard: Iterable[Heard]) -> SessionView:
    board = SessionView()
    for each in heard:
        board.feed(each)
    return board


def known(board: SessionView) -> dict[str, Any]:
    """Everything on a board but how often each entry has changed."""
    found = dict(vars(board))
    found["entries"] = [asdict(replace(entry, version=0)) for entry in board.entries]
    found["arms"] = board.arms and asdict(replace(board.arms, version=0))
    return found


def welcome(pid: int = 1) -> Welcome:
    return Welcome(name="one", pid=pid, began=0.0, next=1, state=State(), busy=None, since=0.0)


def about(ticket: str, *events: Any, end: bool = True) -> list[Heard]:
    told: list[Heard] = [Told(ticket, "me", event) for event in events]
    return [*told, Finished(number=1, ticket=ticket, author="me")] if end else told


def test_the_main_job_is_all_there(board: SessionView) -> None:
    assert [entry.line.split()[0] for entry in board.entries[:9]] == [
        "model", "set", "prompt", "generate", "seed", "top", "discover", "neurons", "ablate",
    ]  # fmt: skip
    assert all(entry.outcome is not None for entry in board.entries)
    assert board.circuit is not None and len(board.circuit) == 200 == board.state.circuit_size
    assert len(board.rows) == 20
    assert board.arms is not None and board.arms.line == "ablate top100"
    assert set(board.arms.texts) == {"baseline", "ablated"}
    assert (board.running, board.waiting, board.host) == (None, [], "")


def test_texts_that_were_streamed_are_those_of_the_result(board: SessionView) -> None:
    assert board.arms is not None and board.arms.value is not None
    for arm in board.arms.value.arms:  # type: ignore[attr-defined]
        assert board.arms.texts[arm.name] == arm.text


def test_who_comes_when_the_texts_are_no_longer_kept_knows_the_results(
    recorded: list[Heard], board: SessionView
) -> None:
    lasting = [each for each in recorded if not (isinstance(each, Told) and isinstance(each.event, Text | Progress))]
    late = fed(lasting)
    for entry in board.entries:
        entry.texts = {}
    assert known(late) == known(board)


@given(st.data())
def test_what_changed_is_said(recorded: list[Heard], data: st.DataObject) -> None:
    """A pane that looks only when it is told of a change sees everything."""
    count = data.draw(st.integers(1, len(recorded) - 1))
    board = fed(recorded[:count])
    before = known(board)
    changed = board.feed(recorded[count])
    after = known(board)
    for name, facet in {"circuit": Facet.CIRCUIT, "rows": Facet.CIRCUIT, "arms": Facet.ARMS, "chances": Facet.CHANCES,
                        "running": Facet.JOBS, "state": Facet.STATE, "host": Facet.HOST}.items():  # fmt: skip
        if before[name] != after[name]:
            assert facet in changed, name
    if [entry["texts"] for entry in before["entries"]] != [entry["texts"] for entry in after["entries"]]:
        assert Facet.ENTRIES in changed


def test_lines_of_a_file_stand_inside_it() -> None:
    board = fed([
        welcome(),
        *about("a", Started("run", "run x.wb"), Started("set", "set top 3", "x.wb:1"), end=False),
    ])  # fmt: skip
    assert board.running is not None and board.running.line == "run x.wb"
    assert board.step is not None and board.step.line == "set top 3"
    for heard in about("a", Result(Deleted(name="x", restore="")), Result(Deleted(name="y", restore=""))):
        board.feed(heard)
    assert [entry.value.name for entry in board.entries] == ["y", "x"]  # type: ignore[union-attr]
    assert board.running is None and board.step is None


def test_lines_wait_their_turn() -> None:
    queued = [Queued(number=n, ticket=str(n), author="me", line=f"line {n}", before=n) for n in (1, 2)]
    board = fed([welcome(), *about("a", Started("x", "line 0"), end=False), *queued])
    assert [entry.line for entry in board.waiting] == ["line 1", "line 2"]
    for heard in [*about("a", Result(Deleted(name="", restore=""))), *about("1", Started("x", "line 1"), end=False)]:
        board.feed(heard)
    assert [(entry.line, entry.before) for entry in board.waiting] == [("line 2", 1)]
    assert board.running is not None and board.running.line == "line 1"
    for heard in about("2", Failed("cancelled", "cancelled")):
        board.feed(heard)
    assert board.waiting == [] and [entry.line for entry in board.entries] == ["line 0", "line 1", "line 2"]


def test_a_line_that_went_down_with_its_host_is_shown_as_cut_short() -> None:
    board = fed([welcome(1), *about("a", Started("generate", "generate"), Text("half a te"), end=False)])
    board.feed(Gone("the host ended suddenly"))
    (lost,) = board.entries
    assert isinstance(lost.outcome, Failed) and lost.texts == {"": "half a te"} and board.running is None
    assert "suddenly" in board.host
    changed = board.feed(welcome(2))
    assert changed == EVERYTHING and board.entries == []
    for heard in about(JOURNAL_TICKET, Started("top", "top"), Failed("x", "y"), end=False):
        board.feed(heard)
    for heard in about("restore", Started("", "# the session as it was")):
        board.feed(heard)
    assert [entry.line for entry in board.entries] == ["top", "generate", "# the session as it was"]


def test_who_attaches_again_to_the_same_host_hears_it_once(recorded: list[Heard]) -> None:
    assert known(fed([*recorded, Gone("the line dropped"), *recorded])) == known(fed(recorded))


def test_what_an_atlas_said_is_forgotten_when_another_one_is_in_use(board: SessionView) -> None:
    place, row = next(iter(board.rows.items()))
    known = structs.replace(row, peak=Peak(value=2.5, document=0, position=3, token=" is"), rate=0.01)
    board.feed(Told("a", "me", structs.replace(board.state, atlas="small")))
    board.rows[place] = known
    assert board.feed(Told("a", "me", structs.replace(board.state, atlas="small", seed="x"))) == Facet.STATE
    assert board.rows[place] == known
    assert board.feed(Told("a", "me", structs.replace(board.state, atlas="large"))) == Facet.STATE | Facet.CIRCUIT
    assert board.rows[place] == row
