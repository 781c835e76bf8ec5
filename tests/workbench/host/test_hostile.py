"""What is thrown at a host: none of it ends it, and none makes it deaf."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from collections import Counter
from pathlib import Path

import pytest

from sessions.events import Failed, Result
from tests.workbench.host.conftest import done, events, finished, idle, said, started, until
from workbench.host.client import Client
from workbench.host.messages import Complete, Completions, Finished, RunLine
from workbench.host.starting import find, find_or_start

#: A host in which every verb ends as the code of others may: a panic of Rust, an exit.
ENDING = """
from commands.grammar import VERBS
from sessions.events import Progress

class PanicException(BaseException):
    pass

def steps(self, session, params):
    yield Progress("working")
    raise {ending}

type(VERBS["list"]).steps = steps
"""


@pytest.mark.parametrize("folder", ["a\0b", "/no/such/folder", "a" * 5000])
def test_a_folder_that_is_none_fails_the_line_and_not_the_host(kept: Client, folder: str) -> None:
    with kept._connection(RunLine("info", "odd", "me", folder), 10.0) as connection:
        next(reply for reply in connection.replies() if isinstance(reply, Finished))
    (failed,) = [event for event in events(said(kept, "odd")) if isinstance(event, Failed)][-1:]
    assert "cannot work in" in failed.message
    answer = kept._answer(Complete("load ", 5, folder=folder), Completions, 5.0)
    assert all(word.description == "saved circuit" for word in answer.found)
    done(kept, "info")


@pytest.mark.parametrize("ending", ["PanicException('gone')", "SystemExit(3)"])
def test_a_library_that_gives_up_ends_no_host(own_home: Path, ending: str) -> None:
    process, client = started(own_home, "one", ENDING.format(ending=ending))
    idle(client)
    (failed,) = [event for event in client.run("set") if isinstance(event, Failed)] or [None]
    assert failed is not None and "gave up" in failed.message
    assert client.welcome().pid == process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_more_clients_at_once_than_may_wait_are_all_met(kept: Client) -> None:
    """Each tries again while the system lets no more of them wait."""
    met: list[object] = []
    gate = threading.Barrier(250)

    def call() -> None:
        gate.wait()
        try:
            met.append(kept.welcome(30.0).name)
        except Exception as error:
            met.append(error)

    callers = [threading.Thread(target=call) for _ in range(250)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert Counter(met) == {kept.name: 250}


def test_a_client_that_cannot_connect_at_once_tries_again(kept: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    class Busy:
        def __init__(self, real: object) -> None:
            self._real = real

        def connect(self, path: str) -> None:
            tried.append(path)
            if len(tried) < 4:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            self._real.connect(path)  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

    real = socket.socket
    monkeypatch.setattr("workbench.host.client.socket.socket", lambda *kind: Busy(real(*kind)))
    monkeypatch.setattr("workbench.host.client.is_own", lambda _: True)
    assert kept.welcome().name == kept.name
    assert len(tried) == 4


def test_a_journal_that_is_a_pipe_keeps_no_host_waiting(own_home: Path) -> None:
    folder = own_home / "hosts" / "one"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "journal.jsonl")
    client = find_or_start("one", own_home)
    result = done(client, "set top 3")[1]
    assert isinstance(result, Result)
    assert "is not a regular file" in result.value.notes[-1]


def test_a_home_whose_path_is_no_text_has_a_host(tmp_path: Path) -> None:
    home = tmp_path / os.fsdecode(b"h\xff")
    home.mkdir()
    client = find_or_start("one", home)
    try:
        done(client, "set top 3")
        assert find("one", home) is not None
    finally:
        os.kill(client.welcome().pid, signal.SIGKILL)


def test_the_state_of_a_session_is_its_owners_alone(client: Client) -> None:
    done(client, "set top 3")
    assert stat.S_IMODE(client.place.state.stat().st_mode) == 0o600


def test_the_model_that_a_line_opened_when_the_host_ended_is_named_at_the_next_start(ready: Client) -> None:
    os.kill(ready.pid, signal.SIGKILL)
    until(lambda: find("one", ready.home) is None)
    ready.place.opening.write_text("./another")  # as a line leaves it that opens a model, and the host with it
    again = find_or_start("one", ready.home)
    until(lambda: finished(said(again, "restore")) > 0)
    (result,) = [event for event in events(said(again, "restore")) if isinstance(event, Result)]
    assert result.value.notes[0].startswith("the model ./another was left out: the last host ended while it opened")
    assert again.state().model  # what was open before comes back
    assert not again.place.opening.exists()


def test_a_host_leaves_no_mark_of_a_model_that_opened(ready: Client) -> None:
    assert not ready.place.opening.exists()
    assert ready.place.was_opening() is None
    with ready.place.marked_opening("tiny"):
        assert ready.place.opening.read_text() == "tiny"
    assert ready.place.was_opening() is None
