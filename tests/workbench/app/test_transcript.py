"""The transcript shows every line and what it said, and stays calm while more is said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot
from workbench.app.panes.transcript import TranscriptPane

from sessions.events import Failed, Result, Started, Text
from sessions.results import Deleted, Generated
from tests.workbench.app.alone import Alone, alone, press, rest
from tests.workbench.app.telling import about, fed, rows, shown, tell, until, watched
from workbench.app.host_listener import Gone, Heard, Starting
from workbench.app.session_view import EVERYTHING, SessionView
from workbench.app.wrapping import Growing, wrapped
from workbench.host.messages import Missed, Queued
from workbench.writing import plain


def many(count: int) -> SessionView:
    """A view with many short lines."""
    value = Deleted(name="old", restore="")
    return fed(each for n in range(count) for each in about(str(n), Started("", f"line {n}"), Result(value), end=True))


def test_every_line_is_there_with_its_result(view: SessionView) -> None:
    text = "\n".join(shown(TranscriptPane(), view, (100, 400)))
    for entry in view.entries:
        assert f"> {entry.line}" in text or f"▸ {entry.line}" in text
    assert "The capital of Texas is Austin." in text
    assert "200 of 98,304 neurons" in text or "neurons · logit" in text
    assert "✗ no circuit is called 'nowhere'" in text
    assert "→ no circuit has been saved" in text


def test_an_empty_session_says_what_to_type_first() -> None:
    view = SessionView()
    view.host = ""
    assert "  model smollm2" in shown(TranscriptPane(), view, (40, 12))


def test_the_transcript_ends_with_the_condition_of_the_host() -> None:
    view = many(3)
    view.feed(Starting("default"))
    assert shown(TranscriptPane(), view, (40, 12))[6] == "· starting the host"
    view.feed(Gone("the host ended suddenly"))
    assert "· the host ended suddenly" in shown(TranscriptPane(), view, (40, 12))


def test_messages_that_are_no_longer_kept_are_counted_at_the_top() -> None:
    view = many(1)
    view.feed(Missed(1234))
    assert shown(TranscriptPane(), view)[0] == "· 1,234 messages before this are no longer kept"


def test_lines_that_wait_say_for_how_many() -> None:
    view = fed(about("a", Started("", "generate")))
    for number, line in enumerate(("top", "discover")):
        view.feed(Queued(number=number, ticket=line, author="pts/3", line=line, before=number + 1))
    assert shown(TranscriptPane(), view)[2:6] == [
        "> top",
        "  waiting for a line",
        "▸ discover",
        "  waiting for 2 lines",
    ]


def test_another_author_is_named() -> None:
    view = fed(about("a", Started("", "generate")))
    pane = TranscriptPane()
    pane.own = "pts/7"
    assert shown(pane, view, (40, 5))[0] == "▸ generate" + " " * 28 + "me"
    pane = TranscriptPane()
    pane.own = "me"
    assert shown(pane, view, (40, 5))[0] == "▸ generate"


def test_a_command_file_s_lines_are_indented_with_their_place() -> None:
    view = fed(about("a", Started("", "run jobs/capital.wb"), Started("", "top 5", where="jobs/capital.wb:3")))
    assert shown(TranscriptPane(), view, (40, 5))[2] == "  ▸ top 5" + " " * 19 + "capital.wb:3"


def test_streamed_text_becomes_the_result_where_it_stands(recorded: list[Heard]) -> None:
    before = until(recorded, "generate")
    entry = before.entries[-1]
    assert isinstance(entry.value, Generated)
    outcome, entry.outcome = entry.outcome, None

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        streamed = [row for row in rows(pane) if row]
        assert streamed[-1] == "  The capital of Texas is Austin."
        entry.outcome, entry.version = outcome, entry.version + 1
        pane.show(before, EVERYTHING)
        ended = [row for row in rows(pane) if row]
        assert ended[:-1] == streamed
        assert ended[-1].startswith("  7 tokens")

    pane = TranscriptPane()
    alone(pane, before, steps, (50, 30))


def test_what_was_said_before_a_failure_stays() -> None:
    view = fed(about("a", Started("", "generate"), Text("Once upon"), Failed("cancelled", "cancelled")))
    assert shown(TranscriptPane(), view)[:3] == ["▸ generate", "  Once upon", "  ✗ cancelled"]


def test_the_last_words_of_each_of_several_streamed_texts_are_shown() -> None:
    said = [Text(f" word{number}", arm) for number in range(30) for arm in ("baseline", "ablated")]
    view = fed(about("a", Started("", "ablate top10"), *said))
    _, baseline, ablated, *_ = shown(TranscriptPane(), view, (40, 5))
    assert baseline.startswith("  baseline ▏ …") and baseline.endswith(" word29")
    assert ablated.startswith("  ablated ▏ …") and ablated.endswith(" word29")


def test_a_word_that_comes_paints_one_row() -> None:
    sizes: list[int] = []
    pane = watched(TranscriptPane, sizes)()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        tell(pane, view, *about("a", Started("", "generate"), Text("It"), Text(" was")))
        await pilot.pause()
        sizes.clear()
        tell(pane, view, *about("a", Text(" a")))
        assert sizes == [60]

    view = many(50)
    alone(pane, view, steps, (60, 20))


def test_the_transcript_follows_its_end_until_the_user_scrolls_up() -> None:
    pane = TranscriptPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        assert rows(pane)[-1] == "  deleted old"
        tell(pane, view, *about("a", Started("", "generate"), Text("It was")))
        assert rows(pane)[-1] == "  It was"
        await press(pilot, "pageup")
        stood = rows(pane)
        tell(pane, view, *about("a", Text(" dark\nand\ncold")))
        assert rows(pane) == stood
        assert pane.facts.endswith("↓")
        await press(pilot, "end")
        assert rows(pane)[-1] == "  cold"
        assert pane.facts == ""
        tell(pane, view, *about("a", Text("er")))
        assert rows(pane)[-1] == "  colder"

    view = many(50)
    alone(pane, view, steps, (60, 10))


def test_the_cursor_goes_from_line_to_line() -> None:
    pane = TranscriptPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        for key, line in [("up", 48), ("k", 47), ("j", 48), ("home", 0), ("down", 1), ("end", 49), ("down", 49)]:
            await press(pilot, key)
            assert f"▸ line {line}" in rows(pane), key
            assert pane.chosen() == f"> line {line}\ndeleted old"
        await press(pilot, "up", "enter")
        assert app.typed == ["line 48"]

    alone(pane, many(50), steps, (60, 7))


def test_the_cursor_is_seen_only_where_keys_go() -> None:
    pane = TranscriptPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        assert "▸ line 1" in rows(pane)
        app.set_focus(None)
        await pilot.pause()
        assert "> line 1" in rows(pane)

    alone(pane, many(2), steps)


def test_a_copied_entry_is_not_wrapped() -> None:
    text = " ".join(f"word{number}" for number in range(200))
    view = fed(about("a", Started("", "generate"), Text(text)))
    pane = TranscriptPane()
    shown(pane, view, (40, 10))
    assert pane.chosen() == f"> generate\n{text}"
    assert pane.text() == pane.chosen()


def test_after_a_resize_the_same_line_stands_at_the_top() -> None:
    pane = TranscriptPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "home", *["down"] * 15, "up", "up")
        first = rows(pane)[0]
        for size in ((23, 14), (60, 10)):
            await pilot.resize_terminal(*size)
            await rest(pilot)
        assert rows(pane)[0] == first

    long = " ".join(["word"] * 40)
    events = [about(str(n), Started("", f"line {n}"), Text(long), Failed("x", "y"), end=True) for n in range(40)]
    alone(pane, fed(each for some in events for each in some), steps, (60, 10))


def test_resize_storms_lay_out_only_what_is_seen() -> None:
    pane = TranscriptPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        for width in range(40, 90, 2):
            await pilot.resize_terminal(width, 30)
            await rest(pilot)
            assert rows(pane)[-1] == "  deleted old"
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
    assert len(shown(TranscriptPane(), view, size, "up", "pageup", "home", "down", "end")) == size[1]


@settings(max_examples=25, deadline=None)
@given(st.text(), st.text(), st.text())
def test_any_text_can_be_shown(line: str, said: str, message: str) -> None:
    view = fed(about("a", Started("", line), Text(said), Failed("model", message, said, line)))
    shown(TranscriptPane(), view, (30, 8))
