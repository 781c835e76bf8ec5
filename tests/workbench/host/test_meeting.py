"""How hosts and clients find each other, and what a host makes of those it should not listen to."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sessions.errors import ArtifactError
from tests.workbench.host.conftest import done, started, until
from workbench.host.client import Client
from workbench.host.messages import LARGEST, Finished
from workbench.host.places import HostError, HostPaths, hosts
from workbench.host.starting import find, find_or_start, kill


def test_a_client_needs_no_model() -> None:
    heavy = "[name for name in ('torch', 'transformers', 'numpy') if name in sys.modules]"
    code = f"import sys, workbench.host.starting, workbench.resuming; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_two_starters_at_once_start_one_host(own_home: Path) -> None:
    clients: list[Client] = []
    starters = [threading.Thread(target=lambda: clients.append(find_or_start("one", own_home))) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(30)
    assert len(clients) == 4
    assert len({client.welcome().pid for client in clients}) == 1
    assert clients[0].place.log.read_text() == ""


def test_a_dead_host_leaves_nothing_that_looks_alive(client: Client) -> None:
    os.kill(client.pid, signal.SIGKILL)
    until(lambda: find("one", client.home) is None, 5)
    assert (client.place.folder / "socket").exists()
    assert find_or_start("one", client.home).welcome().pid != client.pid


def test_the_folder_and_the_socket_are_the_owners_alone(client: Client) -> None:
    assert stat.S_IMODE(client.place.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((client.place.folder / "socket").stat().st_mode) == 0o600


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for what runs, with a short path."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def test_a_home_too_deep_for_a_socket_has_it_elsewhere(tmp_path: Path, runtime: Path) -> None:
    home = tmp_path / ("deep" * 30)
    client = find_or_start("one", home)
    done(client, "set top 3")
    (path,) = (runtime / "workbench").iterdir()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    kill("one", home)
    assert not path.exists()


def test_a_folder_for_sockets_that_others_can_enter_is_not_used(tmp_path: Path, runtime: Path) -> None:
    (runtime / "workbench").mkdir()
    (runtime / "workbench").chmod(0o755)
    with pytest.raises(HostError, match="is not a private folder"):
        find_or_start("one", tmp_path / ("deep" * 30), seconds=10)


def test_a_host_that_cannot_come_up_says_why(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(HostError, match="did not start"):
        find_or_start("one", own_home)


@pytest.mark.parametrize("name", ["", "../up", "a b", "x" * 65])
def test_a_host_has_a_name_that_a_folder_can_have(own_home: Path, name: str) -> None:
    with pytest.raises(ArtifactError):
        find_or_start(name, own_home)


def test_a_host_of_another_machine_is_not_taken_for_one_of_this(client: Client) -> None:
    holder = json.loads(client.place.lock.read_bytes())
    client.place.lock.write_text(json.dumps(holder | {"node": "elsewhere"}))
    with pytest.raises(HostError, match="runs on elsewhere"):
        find_or_start("one", client.home)
    os.kill(client.pid, signal.SIGKILL)


def test_another_user_is_refused(own_home: Path) -> None:
    code = "from workbench.host import serving\nserving.is_own = lambda peer: False"
    process, client = started(own_home, "one", code)
    with pytest.raises(HostError, match="belongs to another user"):
        client.welcome()
    process.terminate()
    assert process.wait(10) == 0


# Messages


class Raw:
    """A connection without manners."""

    def __init__(self, client: Client) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(client._holder.socket)
        self.stream = self.socket.makefile("rb")

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self) -> dict[str, object]:
        return dict(json.loads(self.stream.readline()))

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"message": "Nonsense"}',
        b'{"message": "Welcome"}',
        b'{"message": "Run"}',
        b'{"message": "Run", "line": 3, "ticket": "a"}',
        b'{"message": "Run", "line": "set", "ticket": "' + b"x" * 65 + b'"}',
        b'{"message": "Attach", "since": -1}',
        b'{"message": "Complete", "line": "", "cursor": -3}',
        b"[" * 100_000,
        b"",
    ],
)
def test_an_unreadable_message_is_refused_and_the_connection_stays_open(client: Client, data: bytes) -> None:
    raw = Raw(client)
    raw.say(data + b'\n{"message": "Ping"}\n')
    assert raw.hear()["message"] == "Refused"
    assert raw.hear()["message"] == "Welcome"
    raw.close()


@pytest.mark.parametrize("size", [LARGEST, LARGEST + 1, 3 * LARGEST + 17])
def test_what_is_too_long_is_refused_once_and_the_talk_goes_on(client: Client, size: int) -> None:
    raw = Raw(client)
    raw.say(b'{"message": "Run", "line": "' + b"x" * size)
    raw.say(b'"}\n{"message": "Ping"}\n')
    assert f"more than {LARGEST} bytes" in str(raw.hear()["reason"])
    assert raw.hear()["message"] == "Welcome"
    raw.close()


def test_half_a_message_is_none(client: Client) -> None:
    raw = Raw(client)
    raw.say(b'{"message": "Stop"}')
    raw.close()
    assert client.welcome().busy is None


def test_a_line_too_long_to_send_fails_here(client: Client) -> None:
    (failed,) = client.run("prompt " + "x" * LARGEST)
    assert "more than" in failed.message  # type: ignore[attr-defined]
    (failed,) = client.run("prompt \udcff")
    assert "no text" in failed.message  # type: ignore[attr-defined]


def test_words_are_completed_in_the_hosts_session(client: Client) -> None:
    assert [each.text for each in client.complete("disc", 4)] == ["discover"]
    assert client.complete("nonsense ", 9) == []


def test_files_are_completed_in_the_clients_folder(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.wb").touch()
    monkeypatch.chdir(tmp_path)
    assert client.complete("run m", 5)[0].text == "mine.wb"


def test_a_line_is_sent_without_waiting_for_it(client: Client) -> None:
    ticket = client.send("set top 3")
    with closing(client.attach(1)) as replies:
        assert next(reply for reply in replies if isinstance(reply, Finished) and reply.ticket == ticket)


def test_a_host_that_is_full_refuses_what_is_sent(own_home: Path) -> None:
    _, client = started(own_home, "one", DEAF + "from workbench.host import process\nprocess.MOST_WAITING = 1")
    client.send("deaf")
    until(lambda: client.welcome().busy is not None)
    client.send("set")
    with pytest.raises(HostError, match="waiting already"):
        client.send("set")


# Ending

DEAF = """
import time
from commands import grammar
from commands.request import Request
from commands.verb import verb
from sessions.events import Steps
from sessions.results import Quit

@verb("deaf", family="test", example="deaf")
class Deaf(Request, frozen=True):
    "Never check for cancellation."

    def run(self, session) -> Steps[Quit]:
        time.sleep(600)
        yield

"""


def test_a_host_is_asked_to_end_before_it_is_killed(client: Client) -> None:
    assert kill("one", client.home) == "asked to end"
    with pytest.raises(HostError, match="there is no host"):
        kill("one", client.home)


def test_a_host_that_does_not_end_is_killed(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.host.starting.PATIENCE", {"asked to end": 0.2, "SIGTERM": 0.2, "SIGKILL": 5.0})
    process, client = started(own_home, "one", DEAF)
    threading.Thread(target=lambda: list(client.run("deaf")), daemon=True).start()
    until(lambda: client.welcome().busy is not None)
    assert kill("one", own_home) == "SIGKILL"
    assert process.wait(5) == -signal.SIGKILL


def test_a_process_that_only_has_the_number_of_a_host_is_left_alone(client: Client) -> None:
    os.kill(client.pid, signal.SIGSTOP)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        holder = json.loads(client.place.lock.read_bytes())
        client.place.lock.write_text(json.dumps(holder | {"pid": stranger.pid, "socket": "/nowhere"}))
        with pytest.raises(HostError, match="does not end"):
            kill("one", client.home)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        os.kill(client.pid, signal.SIGKILL)


def test_places_that_had_a_host_are_known(own_home: Path) -> None:
    assert hosts(own_home) == []
    find_or_start("b", own_home)
    find_or_start("a", own_home)
    assert [place.name for place in hosts(own_home)] == ["a", "b"]
    assert HostPaths(own_home, "c").holder() is None
