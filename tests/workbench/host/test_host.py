"""The host: what runs in it is never lost, is stopped at once when asked to be, and comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from sessions import journal
from sessions.events import Event, Failed, Progress, Result, Started, State, Text
from tests.workbench.host.conftest import TEXT, done, events, finished, idle, said, setting, started, until
from workbench.host.client import Client
from workbench.host.messages import JOURNAL_TICKET, Numbered, Queued
from workbench.host.starting import _spawned, find, find_or_start

LONG = "generate --max-tokens 200"
ENDLESS = "generate --max-tokens 100000"


def records(client: Client, verb: str) -> list[journal.Record]:
    found, warnings = journal.read(client.place.folder / "journal.jsonl")
    assert warnings == []
    return [record for record in found if record.verb == verb]


def running(client: Client, line: str) -> None:
    until(lambda: (busy := client.welcome().busy) is not None and busy.line == line)


def came_back(client: Client) -> None:
    """Wait until a host that was started again has brought the session back: it is reached before it begins to."""
    until(lambda: finished(said(client, "restore")) > 0)


def in_background(client: Client, line: str) -> tuple[threading.Thread, list[Event]]:
    heard: list[Event] = []
    thread = threading.Thread(target=lambda: heard.extend(client.run(line)))
    thread.start()
    return thread, heard


# Nothing is lost

CLIENT = """
import sys
from pathlib import Path
from sessions.events import Text
from workbench.host.starting import find
for event in find("one", Path(sys.argv[1])).run(sys.argv[2]):
    if isinstance(event, Text):
        print("text", flush=True)
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_client_that_dies_takes_nothing_with_it(kept: Client, ending: signal.Signals) -> None:
    since = kept.welcome().next
    typing = subprocess.Popen([sys.executable, "-c", CLIENT, str(kept.home), LONG], stdout=subprocess.PIPE, text=True)
    assert typing.stdout is not None
    assert typing.stdout.readline() == "text\n"
    typing.send_signal(ending)
    assert typing.wait() == -ending
    typing.stdout.close()
    idle(kept)
    (record,) = records(kept, "generate")
    assert record.outcome == "result"
    assert record.author.startswith("process ")
    everything = said(kept, since=since)
    (begun,) = [each for each in everything if isinstance(each, Numbered) and _line(each) == LONG]
    heard = [each for each in everything if each.ticket == begun.ticket]
    (result,) = [event for event in events(heard) if isinstance(event, Result)]
    assert result.value.arm.text == "".join(event.text for event in events(heard) if isinstance(event, Text))
    assert len(result.value.arm.ids) == 200
    assert finished(heard) == 1


def _line(message: Numbered) -> str:
    event = message.told()
    return event.line if isinstance(event, Started) else ""


def test_two_clients_hear_the_same_in_the_same_order(kept: Client) -> None:
    heard: list[list[bytes]] = [[], []]
    since = kept.welcome().next

    def watch(number: int) -> None:
        watcher = find("one", kept.home)
        assert watcher is not None
        with closing(watcher.attach(since)) as replies:
            for reply in replies:
                if isinstance(reply, Numbered):
                    heard[number].append(str(reply.number).encode() + bytes(reply.event))
                    if isinstance(reply.told(), Failed):
                        return

    watchers = [threading.Thread(target=watch, args=(number,)) for number in range(2)]
    watchers[0].start()
    done(kept, "generate --max-tokens 50")
    watchers[1].start()
    assert isinstance(list(kept.run("abalte"))[-1], Failed)
    for watcher in watchers:
        watcher.join(10)
    assert heard[0] == heard[1]
    assert len(heard[0]) > 40


def test_lines_wait_for_each_other_and_say_so(kept: Client) -> None:
    since = kept.welcome().next
    first, _ = in_background(kept, LONG)
    running(kept, LONG)
    second, waited = in_background(kept, "set top 50")
    until(lambda: kept.welcome().waiting == ("set top 50",))
    third, _ = in_background(kept, "set top 51")
    for thread in (first, second, third):
        thread.join(60)
    queued = [each for each in said(kept, since=since) if isinstance(each, Queued)]
    assert [(each.line, each.before) for each in queued] == [("set top 50", 1), ("set top 51", 2)]
    assert waited[0] == Progress("waiting for a line before it")
    lines = [record.line for record in journal.read(kept.place.folder / "journal.jsonl")[0]]
    assert lines[-3:] == [LONG, "set top 50", "set top 51"]


def test_a_line_that_waits_can_be_let_go(kept: Client) -> None:
    first, heard = in_background(kept, ENDLESS)
    running(kept, ENDLESS)
    impatient = Client(kept.place, kept._holder)
    second, let_go = in_background(impatient, "set top 50")
    until(lambda: kept.welcome().waiting == ("set top 50",))
    assert impatient.cancel()
    second.join(5)
    assert let_go[-1] == Failed("cancelled", "cancelled")
    assert kept.welcome().busy is not None
    assert kept.cancel()
    first.join(5)
    assert isinstance(heard[-1], Failed)
    assert records(kept, "set") == []


def test_a_client_that_does_not_read_holds_up_nobody(kept: Client) -> None:
    since = kept.welcome().next
    with closing(kept.attach(since)) as deaf:
        next(deaf)
        done(kept, f"prompt --raw '{'the hen ' * 4000}'")
        for _ in range(10):  # far more than a socket holds
            done(kept, "tokens")
        assert len(said(kept, since=since)) > 30


def test_quit_is_a_matter_of_the_client(client: Client) -> None:
    assert isinstance(list(client.run("quit"))[-1], Result)
    assert client.welcome().busy is None
    assert records(client, "quit") == []


# Stopping


def test_a_text_is_stopped_at_once(kept: Client) -> None:
    thread, heard = in_background(kept, ENDLESS)
    until(lambda: any(isinstance(event, Text) for event in heard))
    start = time.monotonic()
    assert kept.cancel()
    assert time.monotonic() - start < 1
    thread.join(5)
    assert time.monotonic() - start < 1
    assert isinstance(heard[-1], Failed) and heard[-1].error == "cancelled"
    assert [record.outcome for record in records(kept, "generate")] == ["failed"]
    done(kept, "generate --max-tokens 2")


def test_a_long_prompt_is_stopped_while_it_is_read(kept: Client) -> None:
    done(kept, f"prompt --raw '{'the hen ' * 2500}'")
    line = "top 3"
    seconds = time.monotonic()
    done(kept, line)
    seconds = time.monotonic() - seconds
    thread, heard = in_background(kept, line)
    running(kept, line)
    start = time.monotonic()
    assert kept.cancel()
    assert time.monotonic() - start < 1
    thread.join(30)
    assert time.monotonic() - start < max(1, seconds / 2)
    assert isinstance(heard[-1], Failed) and heard[-1].error == "cancelled"


def test_hanging_up_stops_nothing(kept: Client) -> None:
    with closing(kept.run(LONG)) as heard:
        for event in heard:
            if isinstance(event, Text):
                break
    idle(kept)
    assert [record.outcome for record in records(kept, "generate")] == ["result"]


def test_sigterm_unwinds_the_command_and_writes_it_down(ready: Client) -> None:
    thread, heard = in_background(ready, ENDLESS)
    running(ready, ENDLESS)
    os.kill(ready.pid, signal.SIGHUP)
    os.kill(ready.pid, signal.SIGTERM)
    until(lambda: find("one", ready.home) is None, 5)
    thread.join(5)
    assert isinstance(heard[-1], Failed)
    assert [record.outcome for record in records(ready, "generate")] == ["failed"]
    assert not list(ready.place.folder.glob("socket"))


def test_a_host_ends_with_0(own_home: Path) -> None:
    process, client = started(own_home, "one", "")
    client.stop()
    assert process.wait(10) == 0


# Coming back


def test_a_host_killed_in_the_middle_comes_back_with_everything(ready: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """This one comes back as the product brings it back: in a process of its own that is started anew."""
    monkeypatch.setattr("workbench.host.starting._spawned", _spawned)
    done(ready, "set top 7")
    done(ready, "discover --keep-universal")
    before = ready.state()
    thread, heard = in_background(ready, ENDLESS)
    running(ready, ENDLESS)
    os.kill(ready.pid, signal.SIGKILL)
    thread.join(5)
    assert isinstance(heard[-1], Failed) and heard[-1].error == "host"
    again = find_or_start("one", ready.home)
    came_back(again)
    assert again.pid != ready.pid
    assert again.state() == before
    assert before.circuit_size == 7 and before.prompt == TEXT
    told = events(said(again, "restore"))
    assert [type(event) for event in told if not isinstance(event, Progress)] == [Started, Result, State]
    assert any(isinstance(event, Progress) for event in told)
    done(again, "ablate top3 --max-tokens 3")
    assert setting(again, "top") == "7"


def test_parts_that_cannot_be_restored_are_named_and_the_others_are_restored(
    ready: Client, tmp_path: Path, tiny_folder: Path
) -> None:
    moved = tmp_path / "moved"
    (tmp_path / "copy").symlink_to(tiny_folder)
    done(ready, f"model {tmp_path / 'copy'}")
    done(ready, "set rows 3")
    (tmp_path / "copy").rename(moved)
    os.kill(ready.pid, signal.SIGKILL)
    again = find_or_start("one", ready.home)
    came_back(again)
    (result,) = [event for event in events(said(again, "restore")) if isinstance(event, Result)]
    assert "did not come back" in result.value.notes[0] and "copy" in result.value.notes[0]
    assert (again.state().model, again.state().prompt) == ("", TEXT)
    assert json.loads(again.place.state.read_bytes())["opening"]["name"].endswith("copy")


def test_a_relative_model_comes_back_from_another_folder(
    forking: None, client: Client, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_folder.parent)
    done(client, "model ./tiny")
    os.kill(client.pid, signal.SIGKILL)
    monkeypatch.chdir("/")
    again = find_or_start("one", client.home)
    came_back(again)
    assert again.state().model == "./tiny"


def test_what_was_said_before_a_host_died_is_said_again(ready: Client) -> None:
    done(ready, "discover --keep-universal")
    assert isinstance(list(ready.run("abalte"))[-1], Failed)
    before = said(ready)
    ended = [event for event in events(before) if isinstance(event, Result | Failed)]
    lines = [event.line for event in events(before) if isinstance(event, Started)]
    os.kill(ready.pid, signal.SIGKILL)
    again = find_or_start("one", ready.home)
    came_back(again)
    recalled = events(said(again, JOURNAL_TICKET))
    assert [event.line for event in recalled if isinstance(event, Started)] == lines
    assert [event for event in recalled if isinstance(event, Result | Failed)] == ended
    assert recalled[-1] == State()  # told, and held no more until it is brought back
    (restored,) = [event.value for event in events(said(again, "restore")) if isinstance(event, Result)]
    assert restored.circuit == next(end for end in ended[::-1] if isinstance(end, Result)).value.circuit


def test_a_model_that_the_host_did_not_survive_is_not_opened_again(ready: Client) -> None:
    os.kill(ready.pid, signal.SIGKILL)
    until(lambda: find("one", ready.home) is None)
    ready.place.opening.touch()  # as one leaves it that ends while its model opens
    again = find_or_start("one", ready.home)
    came_back(again)
    (result,) = [event for event in events(said(again, "restore")) if isinstance(event, Result)]
    assert "ended while it opened" in result.value.notes[0]
    assert (again.state().model, again.state().prompt) == ("", TEXT)
    assert not again.place.opening.exists()


def test_a_damaged_state_is_told_and_kept_aside(own_home: Path) -> None:
    folder = own_home / "hosts" / "one"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"opening": ')
    client = find_or_start("one", own_home)
    idle(client)
    (failed,) = [event for event in events(said(client)) if isinstance(event, Failed)]
    assert "malformed" in failed.message
    assert (folder / "state.damaged.json").exists()
    done(client, "set top 3")


def test_a_state_that_cannot_be_written_is_told_beside_the_result(client: Client) -> None:
    client.place.state.mkdir()
    result = done(client, "set top 3")[1]
    assert isinstance(result, Result)
    assert "would be lost" in result.value.notes[-1]
