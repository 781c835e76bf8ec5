"""Hosts that are real processes, with a tiny random model that opens in an instant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sessions.errors import WorkbenchError
from sessions.events import Event
from tests.workbench.host.nursery import Nursery
from workbench.host.client import Client
from workbench.host.messages import Finished, Logged, Numbered, Welcome
from workbench.host.places import hosts
from workbench.host.starting import find, find_or_start

TEXT = "the hen in the "


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama and its tokenizer, saved; a text of it never ends by itself."""
    from tests.families import tiny, tiny_tokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny"
    model = tiny("llama")
    model.lm_head.weight.data[2] = 0  # </s> has logit 0, and some other token always more
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def own_home(tmp_path: Path) -> Iterator[Path]:
    """A home whose hosts end with the test."""
    yield tmp_path / "home"
    _end_hosts(tmp_path / "home")


def _end_hosts(home: Path) -> None:
    for place in hosts(home):
        with suppress(WorkbenchError, ProcessLookupError):
            holder = place.holder()
            if holder is not None and holder.pid:  # 0, one that begins or ends, would be this very process group
                os.kill(holder.pid, signal.SIGKILL)


@pytest.fixture
def client(own_home: Path) -> Client:
    """A client of a host that has just begun."""
    return find_or_start("one", own_home)


@pytest.fixture
def ready(forking: None, client: Client, tiny_folder: Path) -> Client:
    """A client of a host in which the tiny model reads a prompt; in the test all hosts begin in the nursery."""
    for line in (f"model {tiny_folder}", f"prompt --raw '{TEXT}'"):
        done(client, line)
    return client


@pytest.fixture(scope="session")
def lasting(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, nursery: Nursery) -> Iterator[Client]:
    """As `ready`, for the tests that leave a host as it was."""
    home = tmp_path_factory.mktemp("lasting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.host.starting._spawned", nursery.spawned)
        client = find_or_start("one", home)
    done(client, f"model {tiny_folder}")
    yield client
    _end_hosts(home)


@pytest.fixture
def kept(lasting: Client) -> Client:
    """The client of a host that lasts, with nothing in its journal."""
    idle(lasting)
    done(lasting, f"prompt --raw '{TEXT}'")
    (lasting.place.folder / "journal.jsonl").unlink()
    return lasting


def done(client: Client, line: str) -> list[Event]:
    """Run a line, which has to go well."""
    from sessions.events import Result

    events = list(client.run(line))
    assert any(isinstance(event, Result) for event in events), events
    return events


def setting(client: Client, name: str) -> str:
    """The value that the host's session has for a setting."""
    from sessions.events import Result
    from sessions.results.control import SettingsShown

    shown = next(event for event in done(client, "set") if isinstance(event, Result)).value
    assert isinstance(shown, SettingsShown)
    return shown.settings[name]


def said(client: Client, ticket: str | None = None, since: int = 1) -> list[Logged]:
    """What the host has said up to now, about one line or all."""
    found: list[Logged] = []
    with closing(client.attach(since)) as replies:
        welcome = next(replies)
        assert isinstance(welcome, Welcome)
        while welcome.next > since and (not found or found[-1].number < welcome.next - 1):
            reply = next(replies)
            if isinstance(reply, Logged):
                found.append(reply)
    return [each for each in found if ticket in (None, each.ticket)]


def idle(client: Client, seconds: float = 60) -> None:
    """Wait until nothing runs."""
    until(lambda: client.welcome().busy is None, seconds)


def until(true: Callable[[], bool], seconds: float = 60) -> float:
    """Wait until something is true. Returns how long that took."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds
        time.sleep(0.01)
    return time.monotonic() - start


def events(messages: list[Logged]) -> list[Event]:
    return [each.told() for each in messages if isinstance(each, Numbered)]


def finished(messages: list[Logged]) -> int:
    return sum(isinstance(each, Finished) for each in messages)


def started(home: Path, name: str, code: str) -> tuple[subprocess.Popen[bytes], Client]:
    """A host whose process runs `code` before it becomes one."""
    main = f"{code}\nfrom workbench.host.process import main\nmain([{name!r}, '--home', {str(home)!r}])"
    process = subprocess.Popen([sys.executable, "-c", main])
    until(lambda: find(name, home) is not None)
    client = find(name, home)
    assert client is not None
    return process, client
