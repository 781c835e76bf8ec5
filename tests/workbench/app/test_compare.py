"""Compare puts texts beside each other, and says with characters where they differ; a sweep is a curve."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.style import Style
from textual.pilot import Pilot
from workbench.app.chart import CurveChart
from workbench.app.panes.compare import ComparePane

from sessions.events import Failed, Result, Started, Text
from sessions.results import Compared, Injected, Swept
from tests.workbench.app.alone import Alone, alone, press
from tests.workbench.app.telling import about, fed, rows, shown, tell, until, watched
from workbench.app.differing import Leaving, differing, enclosed
from workbench.app.host_listener import Heard
from workbench.app.panes.chances import ChancesPane
from workbench.app.session_view import SessionView
from workbench.writing import quoted

WORDS = st.lists(
    st.sampled_from(["the", "capital", "of", "Texas", "is", "Austin.", "\n", "東京", "é\u0301"]), max_size=30
)


def with_texts(recorded: list[Heard], *texts: str) -> SessionView:
    """A view on which these are compared."""
    view = until(recorded, "ablate")
    assert view.arms is not None and isinstance(view.arms.value, Compared)
    arms = [msgspec.structs.replace(arm, text=text) for arm, text in zip(view.arms.value.arms, texts, strict=True)]
    view.arms.outcome = Result(msgspec.structs.replace(view.arms.value, arms=tuple(arms)))
    return view


def test_texts_stand_side_by_side_where_there_is_room(view: SessionView) -> None:
    text = shown(ComparePane(), view, (100, 10))
    left, right = ([row.partition("│")[0].rstrip() for row in text], [row.partition("│")[2].strip() for row in text])
    assert left[:3] == ["baseline · target +1.943 · p 0.609", "ended by itself", " ‹Austin.›"]
    assert right[0] == "▸ ablated · target -3.560 · p 1e-05"
    assert (
        " ".join(right[2:4]).replace("\xa0", " ") == "‹the state of the United States of Tuscaloosa. In the Tuscaloosa›"
    )
    assert len({row.index("│") for row in text[:4]}) == 1


@pytest.mark.parametrize("width", [50, 80, 99])
def test_on_a_small_screen_texts_stand_below_each_other(view: SessionView, width: int) -> None:
    text = shown(ComparePane(), view, (width, 12))
    assert text[0].startswith("baseline · target +1.943")
    own = text.index("   ‹Austin.›")
    assert any(row.startswith("▸ ablated") for row in text[own + 1 :])
    assert not any("│" in row for row in text)


def test_only_the_words_that_differ_are_marked(recorded: list[Heard]) -> None:
    view = with_texts(recorded, "The capital of Texas is Austin, I think.", "The capital of Texas was Austin, he said.")
    text = "\n".join(shown(ComparePane(), view, (120, 8)))
    assert "The capital of Texas ‹is› Austin, ‹I think.›" in text
    assert "The capital of Texas ‹was› Austin, ‹he said.›" in text


def test_the_same_text_is_said_to_be_the_same(recorded: list[Heard]) -> None:
    text = "\n".join(shown(ComparePane(), with_texts(recorded, "Austin.", "Austin."), (120, 8)))
    assert "same text" in text and "‹" not in text


def test_a_text_of_nothing_is_said_to_be_empty(recorded: list[Heard]) -> None:
    assert "(empty)" in "\n".join(shown(ComparePane(), with_texts(recorded, "Austin.", ""), (120, 8)))


def test_texts_grow_side_by_side_with_a_mark_where_they_part() -> None:
    pane = ComparePane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        tell(pane, view, *about("a", Text("It is", "baseline"), Text("It is", "ablated")))
        assert rows(pane)[1].split() == ["It", "is", "│", "It", "is"]
        tell(pane, view, *about("a", Text(" dark", "baseline"), Text(" bright", "ablated")))
        assert rows(pane)[1].split() == ["It", "is", "▸dark", "│", "It", "is", "▸bright"]
        tell(pane, view, *about("a", Text(".", "baseline"), Failed("cancelled", "cancelled")))
        assert rows(pane)[1].split() == ["It", "is", "▸dark.", "│", "It", "is", "▸bright"]
        assert rows(pane)[2] == "✗ cancelled"

    view = fed(about("a", Started("", "ablate top10")))
    alone(pane, view, steps, (100, 8))


def test_a_word_that_comes_paints_one_row() -> None:
    painted: list[int] = []
    pane = watched(ComparePane, painted)()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        tell(pane, view, *about("a", Text("It is", "baseline"), Text("It is", "ablated")))
        await pilot.pause()
        painted.clear()
        tell(pane, view, *about("a", Text(" dark", "baseline")))
        assert painted == [100]

    view = fed(about("a", Started("", "ablate top10")))
    alone(pane, view, steps, (100, 20))


def test_texts_are_scrolled_together(recorded: list[Heard]) -> None:
    texts = ["\n".join(f"{name}{number}" for number in range(50)) for name in ("left", "right")]
    pane = ComparePane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        first = rows(pane)
        assert first[2].startswith("‹left0 ") and first[2].endswith("│ ‹right0")
        await press(pilot, "down", "down")
        third = rows(pane)
        assert third[:2] == first[:2]
        assert third[2].startswith("left2 ") and third[2].endswith("│ right2")
        await press(pilot, "end")
        assert rows(pane)[-1].startswith("left49›") and rows(pane)[-1].endswith("│ right49›")

    alone(pane, with_texts(recorded, *texts), steps, (100, 10))


def test_left_and_right_choose_what_is_copied(view: SessionView) -> None:
    pane = ComparePane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        assert pane.chosen().split()[-2:] == ["the", "Tuscaloosa"]
        await press(pilot, "left")
        assert pane.chosen() == " Austin."
        assert rows(pane)[0].startswith("▸ baseline")
        await press(pilot, "left", "right", "right")
        assert pane.chosen().startswith(" the state")
        assert pane.text().startswith("ablate top100\n\nbaseline")

    alone(pane, view, steps)


def test_a_sweep_is_a_curve_with_its_texts_below(recorded: list[Heard]) -> None:
    pane = ComparePane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        assert pane.facts == 'sweep all, p(" Austin")'
        text = rows(pane)
        assert sum(row.count("○") for row in text) == 4 and sum(row.count("●") for row in text) == 1
        labels = next(row for row in text if "[" in row)
        assert labels.split() == ["[×0]", "×0.5", "×1", "×1.5", "×2"]
        assert any(row.startswith("▸ ×0 · target -3.028 · p 2e-05") for row in text)
        await press(pilot, "right", "right")
        text = rows(pane)
        assert next(row for row in text if "[" in row).split() == ["×0", "×0.5", "[×1]", "×1.5", "×2"]
        assert any(row.startswith("▸ ×1 ·") and 'next " Austin"' in row for row in text)
        assert pane.chosen() == " Austin."

    alone(pane, until(recorded, "sweep"), steps, (80, 22))


def test_a_sweep_in_a_few_rows_keeps_its_bars_and_the_chosen_text(recorded: list[Heard]) -> None:
    text = shown(ComparePane(), until(recorded, "sweep"), (60, 5), "right", "right", "right")
    assert text[0].startswith("×0 ▁▁▅[▆]▃ ×2   ×1.5  0.662")
    assert any(row.startswith("▸ ×1.5") for row in text)


def test_a_sweep_without_a_target_shows_the_likeliest_token(recorded: list[Heard]) -> None:
    view = until(recorded, "sweep")
    assert view.arms is not None and isinstance(view.arms.value, Swept)
    arms = [msgspec.structs.replace(arm, target=None, target_probability=None) for arm in view.arms.value.arms]
    view.arms.outcome = Result(msgspec.structs.replace(view.arms.value, target=None, arms=tuple(arms)))
    pane = ComparePane()
    assert any("●" in row for row in shown(pane, view, (80, 22)))
    assert pane.facts == "sweep all, p of the likeliest token"


def test_a_text_with_states_injected_is_compared_with_the_text_as_it_is(recorded: list[Heard]) -> None:
    view = until(recorded, "amplify")
    known = view.entries[-1].value
    assert isinstance(known, Compared)
    value = Injected(
        encoded=known.encoded, adds=False, scale=1.0, inputs=False, placed=(), observed=(), target=known.target,
        arms=(*known.arms, msgspec.structs.replace(known.arms[1], name="random")), shifts=known.shifts,
    )  # fmt: skip
    view = fed(about("0", Started("inject", "inject texas"), Result(value, 1.0)))
    text = shown(ComparePane(), view, (120, 30))
    assert all(any(arm.name in line for line in text) for arm in value.arms)
    chances = "\n".join(shown(ChancesPane(), view, (90, 12)))
    assert value.arms[0].name in chances and quoted(value.shifts[0].token.text) in chances


def test_without_texts_the_pane_says_how_to_compare() -> None:
    assert "  ablate top10" in shown(ComparePane(), fed([]))


def test_the_multipliers_of_a_curve_stand_below_its_points() -> None:
    drawn = [line.text for line in CurveChart([(0.0, 0.0), (1.0, 1.0), (4.0, 0.5)], 1).drawn(60, 9)]
    labels = drawn[-1]
    for point, label in [("●", "[×1]"), ("○", "×4")]:
        place = max(row.rfind(point) for row in drawn)
        assert abs(labels.index(label) + len(label) // 2 - place) <= 1
    assert drawn[0].startswith("1.0 │") and "●" in drawn[0]
    assert drawn[-2].startswith("0.0 │") and "○" in drawn[-2]


@given(
    st.lists(st.tuples(st.floats(-10, 10), st.floats(0, 1)), min_size=1, max_size=40),
    st.integers(0, 200),
    st.integers(0, 40),
)
def test_a_curve_keeps_within_its_cells(points: list[tuple[float, float]], width: int, height: int) -> None:
    drawn = CurveChart(sorted(points), 0).drawn(width, height)
    assert len(drawn) <= max(height, 0)
    if width >= 40:
        assert all(line.cell_length <= width for line in drawn[1:])


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


@pytest.mark.parametrize("line", ["ablate", "amplify", "sweep"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (24, 4), (40, 10), (300, 80)])
def test_no_size_is_too_small_or_too_large(recorded: list[Heard], line: str, size: tuple[int, int]) -> None:
    view = until(recorded, line)
    assert len(shown(ComparePane(), view, size, "left", "right", "pagedown", "end", "home")) == size[1]


@settings(max_examples=20, deadline=None)
@given(st.text(), st.text(), st.integers(8, 90))
def test_any_texts_can_be_compared(before: str, after: str, width: int) -> None:
    view = fed(about("a", Started("", "ablate"), Text(before, "one"), Text(after, after)))
    shown(ComparePane(), view, (width, 8))
