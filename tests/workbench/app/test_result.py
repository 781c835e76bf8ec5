"""The result pane draws what came of a line by its view: texts beside each other, tables to work in, curves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.style import Style
from textual.pilot import Pilot

from sessions.events import Event, Failed, Partial, Progress, Result, Started, Text, Value
from sessions.model.units import Unit
from sessions.results import ArmSoFar, Compared, Deleted, EvaluationSoFar, RecruitRow, RecruitsShown, Swept
from sessions.views import view as view_of
from sessions.views.blocks import Table
from tests.samples import samples
from tests.workbench.app.alone import Alone, alone, press
from tests.workbench.app.telling import about, fed, rows, shown, tell, until, watched
from workbench.app.differing import Leaving, differing, enclosed
from workbench.app.host_listener import Heard
from workbench.app.panes.result import ResultPane
from workbench.app.session_view import SessionView

WORDS = st.lists(st.sampled_from(["the", "capital", "of", "Texas", "is", "Austin.", "\n", "東京", "é"]), max_size=30)
#: Recruits: in the order of the result, by share, and by name.
RECRUITS = RecruitsShown(
    name="crab-1", measure="magnitude", total=4.0, suppressed=0,
    rows=tuple(
        RecruitRow(Unit(layer, index, attribution=attribution), attribution / 4, (up,), (" no",))
        for layer, index, attribution, up in [(24, 1005, 2.0, " Austin"), (3, 7, 0.5, " Dallas"), (9, 12, 1.5, " x")]
    ),
)  # fmt: skip


def after(value: Value, line: str = "recruits") -> SessionView:
    """A view on which a line has this result."""
    return fed(about("a", Started("", line), Result(value, 1.0), end=True))


def with_texts(recorded: list[Heard], *texts: str) -> SessionView:
    """A view on which these are compared."""
    view = until(recorded, "ablate")
    entry = view.latest
    assert entry is not None and isinstance(entry.value, Compared)
    arms = [msgspec.structs.replace(arm, text=text) for arm, text in zip(entry.value.arms, texts, strict=True)]
    entry.outcome = Result(msgspec.structs.replace(entry.value, arms=tuple(arms)))
    return view


def units(pane: ResultPane) -> list[str]:
    """The neurons of the rows, from top to bottom."""
    return [word for row in rows(pane) for word in row.split() if word.startswith("L") and "/N" in word]


# Every result


def test_every_kind_of_result_is_shown_whole_and_copied_as_markdown() -> None:
    copied: list[str] = []

    class Listening(Alone):
        def on_pane_copied(self, message: ResultPane.Copied) -> None:
            copied.append(message.text)

    pane = ResultPane()
    kinds = {type(value): value for value in samples(" Austin")}

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        for number, value in enumerate(kinds.values()):
            tell(pane, app.view, *about(str(number), Started("", f"line {number}"), Result(value), end=True))
            drawn = "\n".join(rows(pane))
            for table in (block for block in view_of(value) if isinstance(block, Table)):
                for row in table.rows:
                    thing = row.stands_for
                    assert thing is None or thing.kind != "neuron" or "*" in thing.name or thing.name in drawn
            assert drawn.strip() or not view_of(value), type(value).__name__
            await press(pilot, "Y")
        assert len(copied) == sum(bool(view_of(value)) for value in kinds.values())

    alone(pane, fed([]), steps, (120, 200), Listening)


def test_an_empty_session_says_what_to_type_first() -> None:
    text = shown(ResultPane(), fed([]), (90, 12))
    assert any(row.startswith("  model smollm2") for row in text)
    assert any('discover " Austin"' in row for row in text)


def test_a_failure_stands_below_what_was_written_before_it() -> None:
    view = fed(
        about("a", Started("", "generate"), Text("Once upon"), Failed("cancelled", "cancelled", "type it again"))
    )
    assert shown(ResultPane(), view)[:3] == ["Once upon", "✗ cancelled", "→ type it again"]


def test_lines_of_a_command_file_are_shown_not_the_file_after_them() -> None:
    step = [Started("", "recruits", where="jobs/capital.wb:3"), Result(RECRUITS)]
    ran = next(value for value in samples("x") if type(value).__name__ == "Ran")
    view = fed(about("a", Started("", "run jobs/capital.wb"), *step, Result(ran), end=True))
    assert view.latest is not None and view.latest.line == "recruits"


# While a line runs


def test_the_result_so_far_is_replaced_by_the_next_and_by_the_result() -> None:
    pane = ResultPane()

    def so_far(answered: int) -> Event:
        return Partial(EvaluationSoFar(tasks=50, arms=(ArmSoFar("base", answered, answered // 2),)))

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        tell(pane, app.view, *about("a", Started("", "evaluate tasks.jsonl"), Progress("base", 10, 50), so_far(10)))
        assert any(row.strip("▸ ").split()[:3] == ["base", "10", "5"] for row in rows(pane))
        assert "… still running" in rows(pane)
        tell(pane, app.view, *about("a", so_far(20)))
        assert any(row.strip("▸ ").split()[:3] == ["base", "20", "10"] for row in rows(pane))
        tell(pane, app.view, *about("a", Failed("cancelled", "cancelled", "20 texts are in x.jsonl")))
        text = rows(pane)
        assert any(row.strip("▸ ").split()[:3] == ["base", "20", "10"] for row in text)
        assert "→ 20 texts are in x.jsonl" in text

    alone(pane, fed([]), steps, (80, 12))


def test_texts_grow_side_by_side_with_a_mark_where_they_part() -> None:
    pane = ResultPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        tell(pane, view, *about("a", Text("It is", "baseline"), Text("It is", "ablated")))
        assert rows(pane)[1].split() == ["It", "is", "│", "It", "is"]
        tell(pane, view, *about("a", Text(" dark", "baseline"), Text(" bright", "ablated")))
        assert rows(pane)[1].split() == ["It", "is", "▸dark", "│", "It", "is", "▸bright"]

    view = fed(about("a", Started("", "ablate top10")))
    alone(pane, view, steps, (100, 8))


@pytest.mark.parametrize("arms", [("baseline", "ablated"), ("",)])
def test_a_word_that_comes_paints_one_row(arms: tuple[str, ...]) -> None:
    painted: list[int] = []
    pane = watched(ResultPane, painted)()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        tell(pane, view, *about("a", *(Text("It is", arm) for arm in arms)))
        await pilot.pause()
        painted.clear()
        tell(pane, view, *about("a", Text(" dark", arms[0])))
        assert painted == [100]

    view = fed(about("a", Started("", "ablate top10")))
    alone(pane, view, steps, (100, 20))


# Texts


def test_texts_stand_side_by_side_where_there_is_room(recorded: list[Heard]) -> None:
    text = shown(ResultPane(), until(recorded, "ablate"), (100, 30))
    at = next(number for number, row in enumerate(text) if "│" in row)
    left = [row.partition("│")[0].rstrip() for row in text[at:]]
    right = [row.partition("│")[2].strip() for row in text[at:]]
    assert left[0] == "baseline · target +1.943 · p 0.609"
    assert right[0].startswith("ablated · target -2.233 · p 3e-04")
    assert " ‹Austin.›" in left
    assert len({row.index("│") for row in text[at : at + 4]}) == 1


@pytest.mark.parametrize("width", [40, 49])
def test_on_a_small_screen_texts_stand_below_each_other(recorded: list[Heard], width: int) -> None:
    text = shown(ResultPane(), until(recorded, "ablate"), (width, 40))
    own = next(number for number, row in enumerate(text) if "‹Austin.›" in row)
    assert any(row.startswith("ablated") for row in text[own + 1 :])
    assert not any("│" in row for row in text)


def test_only_the_words_that_differ_are_marked(recorded: list[Heard]) -> None:
    view = with_texts(recorded, "The capital of Texas is Austin, I think.", "The capital of Texas was Austin, he said.")
    text = "\n".join(shown(ResultPane(), view, (120, 20)))
    assert "The capital of Texas ‹is› Austin, ‹I think.›" in text
    assert "The capital of Texas ‹was› Austin, ‹he said.›" in text


def test_the_same_text_is_said_to_be_the_same(recorded: list[Heard]) -> None:
    text = "\n".join(shown(ResultPane(), with_texts(recorded, "Austin.", "Austin."), (120, 20)))
    assert "‹" not in text


def test_a_text_of_nothing_is_said_to_be_empty(recorded: list[Heard]) -> None:
    assert "(empty)" in "\n".join(shown(ResultPane(), with_texts(recorded, "Austin.", ""), (120, 20)))


def test_a_sweep_has_its_curve_above_its_texts(recorded: list[Heard]) -> None:
    text = "\n".join(shown(ResultPane(), until(recorded, "sweep"), (80, 40)))
    assert 'p(" Austin")' in text and text.count("○") >= 5
    assert "multiplier" in text and text.index("multiplier") < text.index("×0.5")


def test_a_sweep_without_a_target_shows_the_likeliest_token(recorded: list[Heard]) -> None:
    view = until(recorded, "sweep")
    assert view.latest is not None and isinstance(view.latest.value, Swept)
    arms = [msgspec.structs.replace(arm, target=None, target_probability=None) for arm in view.latest.value.arms]
    view.latest.outcome = Result(msgspec.structs.replace(view.latest.value, target=None, arms=tuple(arms)))
    assert any("p of the likeliest token" in row for row in shown(ResultPane(), view, (80, 30)))


# Tables


def test_rows_are_sorted_by_column_and_back() -> None:
    pane = ResultPane()
    own, by_name = ["L24/N1005", "L3/N7", "L9/N12"], ["L24/N1005", "L3/N7", "L9/N12"]

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        assert units(pane) == own
        await press(pilot, "greater_than_sign")
        assert units(pane) == sorted(by_name) and any("▴" in row for row in rows(pane))
        await press(pilot, "greater_than_sign")
        assert units(pane) == ["L24/N1005", "L9/N12", "L3/N7"] and any("▾" in row for row in rows(pane))
        await press(pilot, "o")
        assert units(pane) == ["L3/N7", "L9/N12", "L24/N1005"]
        await press(pilot, "O")
        assert units(pane) == own

    alone(pane, after(RECRUITS), steps, (100, 20))


def test_a_click_on_a_title_sorts_and_a_double_click_on_a_row_opens() -> None:
    pane = ResultPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        heading = next(number for number, row in enumerate(rows(pane)) if "pushes up" in row)
        await pilot.click(offset=(rows(pane)[heading].index("pushes up"), heading))
        await press(pilot)
        assert any("pushes up▴" in row for row in rows(pane))
        place = next(number for number, row in enumerate(rows(pane)) if "L3/N7" in row)
        await pilot.click(offset=(6, place), times=2)
        await press(pilot)
        assert app.sent == ["neuron L3/N7"]

    alone(pane, after(RECRUITS), steps, (100, 20))


def test_rows_are_searched_and_a_search_ends_with_its_result() -> None:
    pane = ResultPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "slash", *"dallas", "enter")
        assert units(pane) == ["L3/N7"]
        assert pane.facts.startswith("/dallas 1")
        await press(pilot, "escape")
        assert len(units(pane)) == 3
        await press(pilot, "slash", *"share>20%")
        assert units(pane) == ["L24/N1005", "L9/N12"]
        await press(pilot, "ctrl+u", *"share>x")
        assert "✗ 'x' is not a number" in pane.facts and len(units(pane)) == 3
        await press(pilot, "ctrl+u")
        assert "share>5%" in pane.facts
        await press(pilot, *"dallas", "enter")
        tell(pane, app.view, *about("b", Started("", "recruits again"), Result(RECRUITS), end=True))
        assert len(units(pane)) == 3

    alone(pane, after(RECRUITS), steps, (100, 20))


def test_marked_rows_become_a_line_to_go_on_with() -> None:
    pane = ResultPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "a", "space", "down", "space", "s")
        assert "2 marked" in pane.facts
        assert sum("●" in row for row in rows(pane)) == 2
        await press(pilot, "asterisk", "i", "asterisk", "m")
        first, second, third, fourth = app.typed
        assert first == "ablate L24/N1005 "
        assert second == "suppress L24/N1005,L9/N12 "
        assert third == "inject --observe L24/N1005,L3/N7,L9/N12 "
        assert fourth == "amplify L9/N12 "

    alone(pane, after(RECRUITS), steps, (100, 20))


def test_a_row_is_copied_with_tabs() -> None:
    pane = ResultPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "down")
        assert pane.chosen().split("\t")[0] == "L3/N7"
        assert pane.text().startswith("> recruits\n")

    alone(pane, after(RECRUITS), steps, (100, 20))


# Which result


def test_a_chosen_or_pinned_result_stays_and_the_latest_is_followed_again() -> None:
    pane = ResultPane()
    gone = Deleted(name="old", restore="")

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        entry = app.view.entries[0]
        pane.display_entry(entry)
        tell(pane, app.view, *about("b", Started("", "delete old"), Result(gone), end=True))
        assert len(units(pane)) == 3
        pane.display_entry(None)
        assert "deleted old" in rows(pane)[0]
        pane.display_entry(entry)
        await press(pilot, "p")
        assert pane.facts.endswith("pinned")
        pane.display_entry(None)
        tell(pane, app.view, *about("c", Started("", "delete old"), Result(gone), end=True))
        assert len(units(pane)) == 3
        await press(pilot, "p")
        assert "deleted old" in rows(pane)[0]

    alone(pane, after(RECRUITS), steps, (100, 20))


def test_a_cursor_at_a_row_is_kept_while_other_lines_end() -> None:
    pane = ResultPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        pane.display_entry(app.view.entries[0])
        await press(pilot, "down", "space")
        tell(pane, app.view, *about("b", Started("", "top"), Failed("model", "no model"), end=True))
        assert pane.chosen().startswith("L9/N12") and "1 marked" in pane.facts

    alone(pane, after(RECRUITS), steps, (100, 20))


# Differences


@given(WORDS, WORDS)
def test_what_is_not_marked_is_in_both_texts(before: list[str], after: list[str]) -> None:
    texts = " ".join(before), " ".join(after)
    kept = []
    for text, spans in zip(texts, differing(*texts), strict=True):
        assert enclosed(text, spans, Style()).plain.replace("‹", "").replace("›", "") == text
        rest, done = "", 0
        for start, end in spans:
            rest, done = rest + text[done:start] + " ", end
        kept.append((rest + text[done:]).split())
    assert kept[0] == kept[1]


def test_long_texts_that_differ_everywhere_are_compared_at_once() -> None:
    before, after = (" ".join(f"{name}{number}" for number in range(20_000)) for name in "ab")
    assert differing(before, after) == ([(0, len(before))], [(0, len(after))])


def test_a_text_that_lags_behind_has_not_parted() -> None:
    leaving = Leaving()
    assert leaving.marked({"one": "It is dark", "two": "It is"}) == {"one": "It is dark", "two": "It is"}
    assert leaving.marked({"one": "It is dark", "two": "It is day"}) == {"one": "It is ▸dark", "two": "It is ▸day"}


KEYS: Sequence[str] = ("down", "space", "greater_than_sign", "pagedown", "end", "home")


@pytest.mark.parametrize("line", ["ablate", "discover", "sweep"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (24, 4), (40, 10), (300, 80)])
def test_no_size_is_too_small_or_too_large(recorded: list[Heard], line: str, size: tuple[int, int]) -> None:
    view = until(recorded, line)
    assert len(shown(ResultPane(), view, size, *KEYS)) == size[1]


@settings(max_examples=20, deadline=None)
@given(st.text(), st.text(), st.integers(8, 90), st.integers(0, 60))
def test_any_texts_can_be_shown(before: str, after: str, width: int, number: int) -> None:
    value = samples(before)[number]
    heard = [*about("a", Started("", "ablate"), Text(before, "one"), Text(after, after), Result(value), end=True)]
    shown(ResultPane(), fed(heard), (width, 8))
    shown(ResultPane(), fed(heard[:3]), (width, 8))
