"""The history lists every line with a headline of what came of it, and stays calm while more arrives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from sessions.events import Failed, Result, Started, Text
from sessions.lines import QUIET
from sessions.results import Deleted
from tests.workbench.app.alone import Alone, alone, press, rest
from tests.workbench.app.telling import about, fed, rows, shown, tell, watched
from workbench.app.host_listener import Gone, Starting
from workbench.app.panes.history import HistoryPane
from workbench.app.session_view import SessionView
from workbench.app.wrapping import Growing, wrapped
from workbench.host.messages import Missed, Queued
from workbench.writing import plain


def many(count: int) -> SessionView:
    """A view with many short lines."""
    value = Deleted(name="old", restore="")
    return fed(each for n in range(count) for each in about(str(n), Started("", f"line {n}"), Result(value), end=True))


def test_every_line_has_a_mark_and_a_headline(view: SessionView) -> None:
    text = shown(HistoryPane(), view, (100, 400))
    joined = "\n".join(text)
    for entry in view.entries:
        mark = "✗" if isinstance(entry.outcome, Failed) else "✓"
        assert any(row[1:].startswith(f"{mark} {entry.line}") or entry.where for row in text), entry.line
    assert '"The capital of Texas is Austin."' in joined
    assert "200 of 98,304 neurons" in joined or "neurons · logit" in joined
    assert "no circuit is called 'nowhere'" in joined


def test_a_headline_does_not_repeat_the_line(view: SessionView) -> None:
    text = shown(HistoryPane(), view, (100, 400))
    at = next(number for number, row in enumerate(text) if "prompt What is" in row)
    assert "What is the capital" not in text[at + 1]


def test_the_history_ends_with_the_condition_of_the_host() -> None:
    view = many(3)
    view.feed(Starting("default"))
    assert shown(HistoryPane(), view, (40, 12))[6] == "· starting the host"
    view.feed(Gone("the host ended suddenly"))
    assert "· the host ended suddenly" in shown(HistoryPane(), view, (40, 12))


def test_messages_that_are_no_longer_kept_are_counted_at_the_top() -> None:
    view = many(1)
    view.feed(Missed(1234))
    assert shown(HistoryPane(), view)[0] == "· 1,234 messages before this are no longer kept"


def test_lines_that_wait_say_for_how_many() -> None:
    view = fed(about("a", Started("", "generate")))
    for number, line in enumerate(("top", "discover")):
        view.feed(Queued(number=number, ticket=line, author="pts/3", line=line, before=number + 1))
    assert shown(HistoryPane(), view)[1:5] == [
        " · top",
        "   waiting for a line",
        "▸· discover",
        "   waiting for 2 lines",
    ]


def test_another_author_is_named() -> None:
    view = fed(about("a", Started("", "generate")))
    pane = HistoryPane()
    pane.own = "pts/7"
    assert shown(pane, view, (40, 5))[0] == "▸◐ generate" + " " * 27 + "me"
    pane = HistoryPane()
    pane.own = "me"
    assert shown(pane, view, (40, 5))[0] == "▸◐ generate"


def test_a_command_file_s_lines_are_indented_with_their_place() -> None:
    view = fed(about("a", Started("", "run jobs/capital.wb"), Started("", "top 5", where="jobs/capital.wb:3")))
    assert shown(HistoryPane(), view, (40, 5))[1] == "▸◐   top 5" + " " * 18 + "capital.wb:3"


def test_lines_that_the_app_runs_by_itself_are_not_listed_unless_they_fail() -> None:
    line = f"neurons L1/N1 {QUIET}"
    done = about("a", Started("", line), Result(Deleted(name="y", restore="")), end=True)
    view = fed([*about("0", Started("", "generate"), Result(Deleted(name="x", restore="")), end=True), *done])
    assert "neurons" not in "\n".join(shown(HistoryPane(), view))
    assert view.latest is not None and view.latest.line == "generate"
    view = fed(about("a", Started("", line), Failed("model", "no model"), end=True))
    assert "no model" in "\n".join(shown(HistoryPane(), view))


def test_the_last_words_of_a_streamed_text_stand_below_its_line() -> None:
    said = [Text(f" word{number}", arm) for number in range(30) for arm in ("baseline", "ablated")]
    view = fed(about("a", Started("", "ablate top10"), *said))
    _, words, *_ = shown(HistoryPane(), view, (40, 5))
    assert words.startswith("   …") and words.endswith(" word29")


def test_a_word_that_comes_paints_one_row() -> None:
    sizes: list[int] = []
    pane = watched(HistoryPane, sizes)()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        tell(pane, view, *about("a", Started("", "generate"), Text("It"), Text(" was")))
        await pilot.pause()
        sizes.clear()
        tell(pane, view, *about("a", Text(" a")))
        assert sizes == [60]

    view = many(50)
    alone(pane, view, steps, (60, 20))


def test_the_history_follows_its_end_until_the_user_scrolls_up() -> None:
    pane = HistoryPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        assert rows(pane)[-1] == "   deleted old"
        tell(pane, view, *about("a", Started("", "generate"), Text("It was")))
        assert rows(pane)[-1] == "   It was"
        await press(pilot, "pageup")
        stood = rows(pane)
        tell(pane, view, *about("a", Text(" dark\nand\ncold")))
        assert rows(pane) == stood
        assert pane.facts.endswith("↓")
        await press(pilot, "end")
        assert rows(pane)[-1].endswith("cold")
        assert pane.facts == ""

    view = many(50)
    alone(pane, view, steps, (60, 10))


def test_the_cursor_goes_from_line_to_line_and_its_result_is_shown() -> None:
    pane = HistoryPane()
    chosen: list[str | None] = []

    class Listening(Alone):
        def on_history_pane_chosen(self, message: HistoryPane.Chosen) -> None:
            chosen.append(None if message.entry is None else message.entry.line)

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        for key, line in [("up", 48), ("k", 47), ("j", 48), ("home", 0), ("down", 1), ("end", 49), ("down", 49)]:
            await press(pilot, key)
            assert f"▸✓ line {line}" in rows(pane), key
            assert pane.chosen() == f"line {line}"
            assert chosen[-1] == (None if line == 49 else f"line {line}")
        await press(pilot, "up", "enter")
        assert app.typed == ["line 48"]

    alone(pane, many(50), steps, (60, 7), Listening)


def test_the_history_is_searched_by_line_and_by_what_came_of_it() -> None:
    pane = HistoryPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "slash", *"line 1")
        assert [row[3:] for row in rows(pane) if "line" in row] == ["line 1", *(f"line {n}" for n in range(10, 20))]
        assert pane.facts == "/line 1▏ 11"
        await press(pilot, "enter")
        assert pane.facts == "/line 1 11"
        await press(pilot, "slash", "ctrl+u", *"nothing of the kind")
        assert rows(pane)[0] == "· no line has it: esc shows all again"
        await press(pilot, "escape")
        assert len([row for row in rows(pane) if "line" in row]) == 20
        await press(pilot, "slash", *"DELETED")
        assert len([row for row in rows(pane) if "line" in row]) == 20

    alone(pane, many(20), steps, (60, 44))


def test_after_a_resize_the_same_line_stands_at_the_top() -> None:
    pane = HistoryPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "home", *["down"] * 15, "up", "up")
        first = rows(pane)[0]
        for size in ((23, 14), (60, 10)):
            await pilot.resize_terminal(*size)
            await rest(pilot)
        assert rows(pane)[0] == first

    long = " ".join(["word"] * 40)
    events = [about(str(n), Started("", f"line {n}"), Failed("x", long), end=True) for n in range(40)]
    alone(pane, fed(each for some in events for each in some), steps, (60, 10))


def test_resize_storms_lay_out_only_what_is_seen() -> None:
    pane = HistoryPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        for width in range(40, 90, 2):
            await pilot.resize_terminal(width, 30)
            await rest(pilot)
            assert rows(pane)[-1] == "   deleted old"
        await press(pilot, "home", "pagedown")
        laid_out = sum(block._laid is not None for block in pane.blocks)
        assert len(pane.blocks) == 2000 and laid_out < 60

    alone(pane, many(2000), steps, (100, 30))


@given(
    st.lists(st.text(alphabet=st.sampled_from("ab 字\n\t\r,.é\u0301\u200d"), max_size=9), max_size=30),
    st.integers(8, 30),
)
def test_a_growing_text_is_broken_as_a_whole_one(pieces: list[str], width: int) -> None:
    growing, text = Growing(width), ""
    for piece in pieces:
        text += piece
        lines = [line.text.rstrip() for line in growing.show(text)]
        whole = text.removesuffix("\r")
        assert (lines or [""]) == [line.rstrip() for line in wrapped(plain(whole), width)]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 2), (40, 10), (300, 80)])
def test_no_size_is_too_small_or_too_large(view: SessionView, size: tuple[int, int]) -> None:
    assert len(shown(HistoryPane(), view, size, "up", "pageup", "home", "down", "end")) == size[1]


@settings(max_examples=25, deadline=None)
@given(st.text(), st.text(), st.text())
def test_any_text_can_be_shown(line: str, said: str, message: str) -> None:
    view = fed(about("a", Started("", line), Text(said), Failed("model", message, said, line)))
    shown(HistoryPane(), view, (30, 8))
