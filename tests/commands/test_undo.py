"""`undo` and `redo`: what lines changed of the session and of the weights, taken back in one order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands.grammar import parse
from sessions.model.opening import OpenModel
from sessions.past import REMEMBERED
from sessions.session import Session
from tests.commands.driving import events_of, failure, result
from tests.edits import bits, louder

#: Lines that change what the session holds, one kind of change each.
CHANGES = (
    "prompt What is the capital of France?",
    "seed The capital",
    'discover " x" --top 5',
    "keep top3",
    "drop top1",
    "load kept",
    "suppress L0/N1",
    "shift L0/N2 1.5 --live",
)


@pytest.fixture
def session(little: Session) -> Session:
    result(little, "prompt What is the capital of Texas?")
    result(little, 'discover " a" --top 20')
    result(little, "save kept")
    result(little, "keep top15")
    return little


@pytest.mark.parametrize("line", CHANGES)
def test_undo_brings_back_what_a_line_changed_and_redo_what_it_made(session: Session, line: str) -> None:
    before = session.held()
    result(session, line)
    after = session.held()
    assert after != before
    assert result(session, "undo").lines == (line,)
    assert session.held() == before
    assert result(session, "redo").lines == (line,)
    assert session.held() == after


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(lines=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=5), steps=st.integers(0, 5))
def test_undoing_so_many_changes_is_the_state_before_them(session: Session, lines: list[str], steps: int) -> None:
    states = [session.held()]
    for line in lines:
        events_of(session, line)  # some fail, as drop does of all there is: these change nothing
        if states[-1].differing(session.held()):
            states.append(session.held())
    back = steps % len(states)
    if back:
        result(session, f"undo {back}")
    assert not session.held().differing(states[-1 - back])
    if back:
        result(session, f"redo {back}")
    assert not session.held().differing(states[-1])
    if len(states) > 1:  # the next lines begin where these began
        result(session, f"undo {len(states) - 1}")
    assert not session.held().differing(states[0])


def test_edits_and_the_rest_have_one_order(session: Session) -> None:
    opened = session.opened()
    plain = bits(opened)
    result(session, "keep top10")
    session.take_edit(louder(opened), "meow", "rewrite L1/N3")
    edited = bits(opened)
    result(session, "keep top5")
    assert result(session, "undo").lines == ("keep top5",) and bits(opened) == edited
    shown = result(session, "undo")
    assert (shown.named, shown.lines) == (("meow",), ()) and bits(opened) == plain
    assert result(session, "undo").lines == ("keep top10",) and len(session.found()) == 15
    result(session, "redo 3")
    assert len(session.found()) == 5 and bits(opened) == edited


def test_looking_changes_nothing_that_could_be_taken_back(session: Session) -> None:
    result(session, "keep top10")
    for line in ("neurons", "info", "verify top2", "edits", "save other", "set top 30"):
        result(session, line)
    assert result(session, "undo").lines == ("keep top10",)


def test_what_a_line_did_not_change_stays_when_it_is_taken_back(session: Session) -> None:
    result(session, "suppress L0/N1")
    session.take_edit(louder(session.opened()), "meow", "rewrite L1/N3")
    result(session, "verify top2")
    result(session, "save measured")
    result(session, "undo 2")
    assert session.found().name == "measured" and session.found().neurons[0].effect is not None
    assert session.suppressed == ()


def test_a_new_change_leaves_nothing_to_redo(session: Session) -> None:
    result(session, "keep top10")
    result(session, "undo")
    result(session, "keep top3")
    assert failure(session, "redo").message == "there is nothing to redo"


def test_more_than_there_is_is_refused_and_takes_nothing_back(session: Session) -> None:
    held = session.held()
    refused = failure(session, f"undo {REMEMBERED + 1}")
    assert "changes to undo, not 101" in refused.message and parse(refused.hint)
    assert session.held() == held


def test_a_line_that_fails_is_no_change(session: Session) -> None:
    result(session, "keep top10")
    failure(session, "keep L99/N1")
    assert result(session, "undo").lines == ("keep top10",)


def test_the_lines_of_a_file_are_taken_back_one_by_one(session: Session) -> None:
    Path("two.wb").write_text("keep top10\nkeep top5\n")
    result(session, "run two.wb")
    assert result(session, "undo").lines == ("keep top5",)
    assert len(session.found()) == 10


def test_another_model_begins_anew(session: Session, tiny_chat: OpenModel) -> None:
    result(session, "keep top10")
    session.use_model(tiny_chat)
    assert failure(session, "undo").message == "there is nothing to undo"
