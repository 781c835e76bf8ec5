"""The view: made of what is heard alone, so that whoever comes late knows the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sessions.atlas.findings import Peak
from sessions.events import Failed, Progress, Result, Started, State, Text
from sessions.results import Compared, Deleted
from workbench.app.host_listener import Gone, Heard, Told
from workbench.app.session_view import EVERYTHING, Facet, SessionView
from workbench.host.messages import JOURNAL_TICKET, Finished, Queued, Welcome


def fed(heard: Iterable[Heard]) -> SessionView:
    view = SessionView()
    for each in heard:
        view.feed(each)
    return view


def known(view: SessionView) -> dict[str, Any]:
    """Everything on a view but how often each entry has changed."""
    found = dict(vars(view))
    found["entries"] = [asdict(replace(entry, version=0)) for entry in view.entries]
    found["latest"] = view.latest and view.latest.line
    return found


def welcome(pid: int = 1) -> Welcome:
    return Welcome(name="one", pid=pid, began=0.0, next=1, state=State(), busy=None, since=0.0)


def about(ticket: str, *events: Any, end: bool = True) -> list[Heard]:
    told: list[Heard] = [Told(ticket, "me", event) for event in events]
    return [*told, Finished(number=1, ticket=ticket, author="me")] if end else told


def test_the_main_job_is_all_there(view: SessionView) -> None:
    assert [entry.line.split()[0] for entry in view.entries[:9]] == [
        "model", "set", "prompt", "generate", "seed", "top", "discover", "neurons", "ablate",
    ]  # fmt: skip
    assert all(entry.outcome is not None for entry in view.entries)
    assert view.circuit is not None and len(view.circuit) == 200 == view.state.circuit_size
    assert len(view.rows) == 20
    assert view.latest is view.entries[-1]
    ablated = next(entry for entry in reversed(view.entries) if entry.line == "ablate top100")
    assert set(ablated.texts) == {"baseline", "ablated"}
    assert (view.running, view.waiting, view.host) == (None, [], "")


def test_texts_that_were_streamed_are_those_of_the_result(view: SessionView) -> None:
    entries = [entry for entry in view.entries if isinstance(entry.value, Compared)]
    assert entries
    for entry in entries:
        for arm in entry.value.arms:  # type: ignore[union-attr]
            assert entry.texts[arm.name] == arm.text


def test_who_comes_when_the_texts_are_no_longer_kept_knows_the_results(
    recorded: list[Heard], view: SessionView
) -> None:
    lasting = [each for each in recorded if not (isinstance(each, Told) and isinstance(each.event, Text | Progress))]
    late = fed(lasting)
    for entry in view.entries:
        entry.texts = {}
    assert known(late) == known(view)


@given(st.data())
def test_feeding_returns_the_facets_that_changed(recorded: list[Heard], data: st.DataObject) -> None:
    """A pane that looks only when it is told of a change sees everything."""
    count = data.draw(st.integers(1, len(recorded) - 1))
    view = fed(recorded[:count])
    before = known(view)
    changed = view.feed(recorded[count])
    after = known(view)
    for name, facet in {
        "circuit": Facet.CIRCUIT, "rows": Facet.CIRCUIT, "latest": Facet.ENTRIES, "chances": Facet.CHANCES,
        "running": Facet.JOBS, "state": Facet.STATE, "host": Facet.HOST,
    }.items():  # fmt: skip
        if before[name] != after[name]:
            assert facet in changed, name
    if [entry["texts"] for entry in before["entries"]] != [entry["texts"] for entry in after["entries"]]:
        assert Facet.ENTRIES in changed


def test_lines_of_a_file_stand_inside_it() -> None:
    view = fed([
        welcome(),
        *about("a", Started("run", "run x.wb"), Started("set", "set top 3", "x.wb:1"), end=False),
    ])  # fmt: skip
    assert view.running is not None and view.running.line == "run x.wb"
    assert view.step is not None and view.step.line == "set top 3"
    for heard in about("a", Result(Deleted(name="x", restore="")), Result(Deleted(name="y", restore=""))):
        view.feed(heard)
    assert [entry.value.name for entry in view.entries] == ["y", "x"]  # type: ignore[union-attr]
    assert view.running is None and view.step is None


def test_lines_wait_their_turn() -> None:
    queued = [Queued(number=n, ticket=str(n), author="me", line=f"line {n}", before=n) for n in (1, 2)]
    view = fed([welcome(), *about("a", Started("x", "line 0"), end=False), *queued])
    assert [entry.line for entry in view.waiting] == ["line 1", "line 2"]
    for heard in [*about("a", Result(Deleted(name="", restore=""))), *about("1", Started("x", "line 1"), end=False)]:
        view.feed(heard)
    assert [(entry.line, entry.before) for entry in view.waiting] == [("line 2", 1)]
    assert view.running is not None and view.running.line == "line 1"
    for heard in about("2", Failed("cancelled", "cancelled")):
        view.feed(heard)
    assert view.waiting == [] and [entry.line for entry in view.entries] == ["line 0", "line 1", "line 2"]


def test_a_line_that_went_down_with_its_host_is_shown_as_cut_short() -> None:
    view = fed([welcome(1), *about("a", Started("generate", "generate"), Text("half a te"), end=False)])
    view.feed(Gone("the host ended suddenly"))
    (lost,) = view.entries
    assert isinstance(lost.outcome, Failed) and lost.texts == {"": "half a te"} and view.running is None
    assert "suddenly" in view.host
    changed = view.feed(welcome(2))
    assert changed == EVERYTHING and view.entries == []
    for heard in about(JOURNAL_TICKET, Started("top", "top"), Failed("x", "y"), end=False):
        view.feed(heard)
    for heard in about("restore", Started("", "# the session as it was")):
        view.feed(heard)
    assert [entry.line for entry in view.entries] == ["top", "generate", "# the session as it was"]


def test_who_attaches_again_to_the_same_host_hears_it_once(recorded: list[Heard]) -> None:
    assert known(fed([*recorded, Gone("the line dropped"), *recorded])) == known(fed(recorded))


def test_what_an_atlas_said_is_forgotten_when_another_one_is_in_use(view: SessionView) -> None:
    place, row = next(iter(view.rows.items()))
    known = structs.replace(row, peak=Peak(value=2.5, document=0, position=3, token=" is"), rate=0.01)
    view.feed(Told("a", "me", structs.replace(view.state, atlas="small")))
    view.rows[place] = known
    assert view.feed(Told("a", "me", structs.replace(view.state, atlas="small", seed="x"))) == Facet.STATE
    assert view.rows[place] == known
    assert view.feed(Told("a", "me", structs.replace(view.state, atlas="large"))) == Facet.STATE | Facet.CIRCUIT
    assert view.rows[place] == row
