"""A line becomes events, and the session outlives whatever happens in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import run
from commands.grammar import parse
from sessions import journal
from sessions.events import Failed, Progress, Result, Started, State, Text, from_json, to_json
from sessions.results import SettingsShown
from sessions.session import Session
from tests.commands.driving import events_of, failure, failure_in, result, unharmed


@contextmanager
def in_every_layer(session: Session, happens: Any) -> Iterator[None]:
    """Call `happens` before every decoder layer of every pass in the block."""
    assert session.model is not None
    handles = [layer.block.register_forward_pre_hook(lambda *_: happens()) for layer in session.model.anatomy.layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# ---- events


def test_a_command_starts_speaks_ends_and_tells_what_changed(little: Session) -> None:
    events = events_of(little, "prompt a dog")
    assert [type(event) for event in events] == [Started, Result, State]
    assert events[0] == Started("prompt", "prompt a dog")
    assert isinstance(events[2], State) and events[2] == little.state()
    kinds = [type(event) for event in events_of(little, "generate --max-tokens 3")]
    assert kinds[0] is Started and kinds[-1] is Result and set(kinds[1:-1]) == {Text}


def test_a_command_that_changes_nothing_sends_no_state(little: Session) -> None:
    assert [type(event) for event in events_of(little, "info")] == [Started, Result]


def test_a_line_that_is_no_command_is_told_and_fails(empty: Session) -> None:
    events = events_of(empty, 'discover "x')
    assert events[0] == Started("", 'discover "x')
    assert [type(event) for event in events[1:]] == [Failed]
    failed = failure_in(events)
    assert (failed.error, failed.column) == ("usage", 9)


def test_only_the_grammar_points_into_the_line(little: Session) -> None:
    """What a verb finds wrong with a word is not where that word stands in the line."""
    assert failure(little, "ablate top10 + nosuch").column is None


@pytest.mark.parametrize("line", ["info", "list", "tokens", "top 3", "neurons top2", "ablate top2", "help", "nosuch"])
def test_every_event_travels_as_json(little: Session, line: str) -> None:
    for event in events_of(little, line):
        there = from_json(to_json(event))
        assert there == event and to_json(from_json(to_json(there))) == to_json(there)


def test_time_is_told(little: Session) -> None:
    (done,) = [event for event in events_of(little, "top") if isinstance(event, Result)]
    assert 0 < done.seconds < 60
    assert failure(little, "load nosuch").seconds > 0


# ---- the journal


def test_every_finished_command_is_written_down(little: Session) -> None:
    assert little.journal is not None and little.model is not None
    result(little, "set rng 7")
    failure(little, "load nosuch")
    failure(little, "nosuch")
    records, warnings = journal.read(little.journal.path)
    assert not warnings
    done, failed, unread = records[-3:]
    assert (done.line, done.verb, done.outcome, done.rng) == ("set rng 7", "set", "result", 7)
    assert done.arguments == {"name": "rng", "value": "7"}
    assert done.value["kind"] == "SettingsShown"
    assert (done.model, done.fingerprint) == ("tiny", little.model.info.fingerprint)
    assert (failed.outcome, failed.value["error"]) == ("failed", "artifact")
    assert (unread.verb, unread.arguments, unread.value["error"]) == ("", {}, "usage")


def test_arguments_are_written_down_as_they_were_read(little: Session) -> None:
    assert little.journal is not None
    result(little, 'prob " a" b')
    result(little, "discover a --layers 1-2 --keep-universal --top 3")
    prob, discover = journal.read(little.journal.path)[0][-2:]
    assert prob.arguments == {"texts": [" a", "b"]}
    assert (discover.arguments["layers"], discover.arguments["top"], discover.arguments["vs"]) == ([1, 2], 3, None)


def test_a_journal_that_cannot_be_written_is_told_once_and_costs_nothing(empty: Session) -> None:
    assert empty.journal is not None
    empty.journal.path.parent.parent.mkdir(parents=True)
    empty.journal.path.parent.write_text("a file where a folder should be")
    (note,) = result(empty, "set top 5").notes
    assert "cannot write the journal" in note and "WORKBENCH_HOME" in note
    assert result(empty, "set top 6").notes == ()
    assert empty.settings.top == 6


def test_a_failure_is_still_a_failure_when_the_journal_cannot_be_written(empty: Session) -> None:
    assert empty.journal is not None
    empty.journal.path.parent.parent.mkdir(parents=True)
    empty.journal.path.parent.touch()
    failed = failure(empty, "load nosuch")
    assert failed.message == "no circuit is called 'nosuch'"
    assert "cannot write the journal" in failed.hint


def test_a_line_of_bytes_that_are_no_text_is_written_down_too(empty: Session) -> None:
    assert empty.journal is not None
    failure(empty, "prompt \udce9")
    records, warnings = journal.read(empty.journal.path)
    assert (len(records), warnings) == (1, [])


# ---- what nobody foresaw


def test_a_defect_is_told_traced_and_survived(little: Session) -> None:
    def breaks() -> None:
        raise ZeroDivisionError("what nobody foresaw")

    with unharmed(little), in_every_layer(little, breaks):
        failed = failure(little, "generate")
    assert failed.error == "defect"
    assert failed.message == "ZeroDivisionError: what nobody foresaw"
    log = little.home / "defects.log"
    assert str(log) in failed.hint
    assert "in_every_layer" in log.read_text() or "breaks" in log.read_text()


def test_a_defect_is_traced_in_a_home_that_does_not_exist_yet(tmp_path: Path, little: Session) -> None:
    def breaks() -> None:
        raise ZeroDivisionError

    fresh = Session(tmp_path / "elsewhere" / "home")
    fresh.model, fresh.prompt = little.model, little.prompt
    with in_every_layer(fresh, breaks):
        failure(fresh, "generate")
    assert "ZeroDivisionError" in (fresh.home / "defects.log").read_text()


def test_too_little_memory_is_no_defect(little: Session) -> None:
    with unharmed(little), in_every_layer(little, lambda: torch.empty(10**15)):
        failed = failure(little, "sweep all 0 1")
    assert failed.error == "memory"
    assert "--batch" in failed.hint
    with in_every_layer(little, lambda: torch.empty(10**15)):
        assert "--batch" not in failure(little, "top").hint  # which has none


# ---- stopping


def test_an_earlier_request_does_not_stop_the_next_command(little: Session) -> None:
    little.cancel.request()
    assert result(little, "generate --max-tokens 2").arm.ids


@pytest.mark.parametrize("line", ["top", "generate", "ablate", "discover a --keep-universal"])
def test_a_request_from_another_thread_stops_a_long_prefill(little: Session, line: str) -> None:
    """Each layer takes a while here; the request, made during the first, is met before the second."""
    asked = threading.Timer(0.05, little.cancel.request)
    layers = []

    def takes_long() -> None:
        layers.append(time.monotonic())
        time.sleep(0.2)

    with unharmed(little), in_every_layer(little, takes_long):
        asked.start()
        assert failure(little, line).error == "cancelled"
    asked.join()
    assert len(layers) == 1


def test_cancelling_is_noticed_between_any_two_events(empty: Session, tmp_path: Path, tiny_llama: Any) -> None:
    """Opening a model runs elsewhere and never looks at the flag: it is looked at here."""
    folder = Path("saved")
    tiny_llama.model.save_pretrained(folder)
    tiny_llama.tokenizer.save_pretrained(folder)
    with unharmed(empty):
        events = []
        for event in run(empty, "model saved"):
            events.append(event)
            if isinstance(event, Progress):
                empty.cancel.request()
        assert failure_in(events).error == "cancelled"
    assert result(empty, "model saved").info.d_model == 32


def test_an_interrupt_fails_the_command_and_not_the_session(little: Session) -> None:
    with unharmed(little):
        events = run(little, "generate")
        while not isinstance(next(events), Text):
            pass
        failed = failure_in([events.throw(KeyboardInterrupt), *events])
        assert (failed.error, failed.message) == ("cancelled", "cancelled")


def test_an_interrupt_inside_the_model_fails_the_command_and_not_the_session(little: Session) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    for line in ("discover a --keep-universal", "ablate", "top"):
        with unharmed(little), in_every_layer(little, interrupt):
            assert failure(little, line).error == "cancelled"


def test_a_command_that_is_closed_is_unwound_and_not_written_down(little: Session) -> None:
    assert little.journal is not None
    count = len(journal.read(little.journal.path)[0])
    with unharmed(little):
        events = run(little, "ablate")
        while not isinstance(next(events), Text):
            pass
        events.close()
        assert len(journal.read(little.journal.path)[0]) == count


def test_a_session_without_a_journal_keeps_none(tmp_path: Path) -> None:
    session = Session(tmp_path / "home")
    assert isinstance(result(session, "set"), SettingsShown)
    assert not (tmp_path / "home").exists()


def test_the_journal_has_each_line_as_it_was_typed_and_as_the_grammar_writes_it(little: Session) -> None:
    assert little.journal is not None
    for line in ("  set   max_tokens 3", "discover  --top 5 'a' # the first letter", "nonsense"):
        events_of(little, line)
    records, _ = journal.read(little.journal.path)
    *_, first, second, third = records
    assert (first.line, first.resolved) == ("  set   max_tokens 3", "set max_tokens 3")
    assert parse(second.resolved).request == parse(second.line).request and "#" not in second.resolved
    assert (third.line, third.resolved) == ("nonsense", "")
