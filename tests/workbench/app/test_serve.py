"""The app in a browser: who gets in, what a tab is, and how it all ends. The server is a real process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pyte
import pytest
from aiohttp.test_utils import TestServer, unused_port

from benchmarks.terminal import workbench
from tests.workbench.app import chromium
from tests.workbench.host.conftest import own_home, until  # noqa: F401  (a fixture)
from workbench.browser.auth import Auth, checked_token
from workbench.browser.page import page
from workbench.browser.server import Served
from workbench.browser.tab import cells
from workbench.host.places import HostPaths, hosts
from workbench.host.starting import find

TOKEN = "a-token-of-21-letters"
HEAVY = re.compile(r"torch|numpy")


@dataclass
class Server:
    """`workbench serve`, as a process."""

    process: subprocess.Popen[str]
    home: Path
    url: str

    @property
    def base(self) -> str:
        return self.url.partition("/?")[0]

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def tabs(self) -> list[int]:
        """Process ids of the apps behind its tabs."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def served(home: Path, *more: str) -> Server:
    process = subprocess.Popen(
        workbench("serve", "--port", "0", "--home", home, *more), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 20)[0]
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found is not None
    return Server(process, home, found[0])


@pytest.fixture
def server(own_home: Path) -> Iterator[Server]:  # noqa: F811
    found = served(own_home)
    yield found
    found.process.kill()
    found.process.wait()
    assert found.process.stdout is not None
    found.process.stdout.close()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


@asynccontextmanager
async def visitor(server: Server | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser; one that was let in, where a server is given."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        if server is not None:
            async with session.get(server.url) as answer:
                assert answer.status == 200
        yield session


# Who gets in

PATHS = (
    "/",
    "/ws",
    "/start.js",
    "/static/js/textual.js",
    "/static/",
    "/download/x",
    "/nothing",
    "/?token=",
    "/?token=é",
)


def test_without_the_token_there_is_nothing(server: Server) -> None:
    async def visit() -> None:
        async with visitor() as session:
            for path in (*PATHS, f"/?token={server.url[-43:-1]}", f"/ws?token={server.url[-43:]}"):
                async with session.get(server.base + path) as answer:
                    assert answer.status == 403, path
                    assert "Set-Cookie" not in answer.headers
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(server.base + "/ws", origin=server.base)
            assert refused.value.status == 403

    run(visit())
    assert server.tabs() == []


def test_the_token_is_changed_for_a_cookie_that_no_script_reads_and_no_other_site_sends(server: Server) -> None:
    async def visit() -> None:
        async with visitor() as session:
            async with session.get(server.url, allow_redirects=False) as answer:
                assert answer.status == 303
                assert answer.headers["Location"] == "/"
                cookie = answer.headers["Set-Cookie"]
                assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
            async with session.get(server.base + "/") as answer:
                assert answer.status == 200
                text = await answer.text()
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
                assert answer.headers["Cache-Control"] == "no-store"
            assert set(re.findall(r"\w+://[^/\"]*", text)) == {f"ws://127.0.0.1:{server.port}"}
            for path in ("/start.js", "/static/js/textual.js", "/static/css/xterm.css"):
                async with session.get(server.base + path) as answer:
                    assert answer.status == 200
            for path in ("/static/", "/download/x", "/nothing", "/static/../server.py"):
                async with session.get(server.base + path) as answer:
                    assert answer.status in (403, 404)

    run(visit())


@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}@evil.example", ""]
)
def test_a_name_that_was_made_to_point_here_is_refused(server: Server, host: str) -> None:
    async def visit() -> None:
        async with visitor(server) as session:
            for path in (*PATHS, server.url.removeprefix(server.base)):
                headers = {"Host": host.format(port=server.port)}
                async with session.get(server.base + path, headers=headers, allow_redirects=False) as answer:
                    assert answer.status in (400, 403)

    run(visit())


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1:{port}"]
)
def test_another_page_cannot_drive_a_browser_that_was_let_in(server: Server, origin: str | None) -> None:
    async def visit() -> None:
        async with visitor(server) as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                origin_here = origin and origin.format(port=server.port)
                await session.ws_connect(server.base + "/ws", origin=origin_here)
            assert refused.value.status == 403

    run(visit())
    assert server.tabs() == []


@pytest.mark.parametrize(
    ("address", "host", "here"),
    [
        ("127.0.0.1", "127.0.0.1:8000", True),
        ("127.0.0.1", "LOCALHOST:8000", True),
        ("127.0.0.1", "127.0.0.1:8001", False),
        ("127.0.0.1", "127.1:8000", False),
        ("127.0.0.1", "[::1]:8000", False),
        ("127.0.0.1", "a@127.0.0.1:8000", False),
        ("127.0.0.1", "127.0.0.1:8000/", False),
        ("127.0.0.1", "127.0.0.1:x", False),
        ("127.0.0.1", None, False),
        ("10.0.0.7", "10.0.0.7:8000", True),
        ("10.0.0.7", "localhost:8000", False),
        ("0.0.0.0", "10.0.0.7:8000", True),
        ("0.0.0.0", "[fe80::1]:8000", True),
        ("0.0.0.0", "evil.example:8000", False),
        ("::1", "[::1]:8000", True),
    ],
)
def test_only_names_of_what_is_served_count(address: str, host: str | None, here: bool) -> None:
    assert Auth(address, 8000, TOKEN).serves(host) is here


def test_a_token_is_made_or_hard_to_guess() -> None:
    made = {checked_token(None, "127.0.0.1") for _ in range(10)}
    assert len(made) == 10
    assert min(map(len, made)) >= 43
    assert checked_token(TOKEN, "0.0.0.0") == TOKEN
    auth = Auth("127.0.0.1", 8000, TOKEN)
    assert auth.opens(TOKEN)
    assert not any(map(auth.opens, ("", TOKEN[:-1], TOKEN + "x", "\ud800", "é" * 21)))


def test_what_is_put_into_the_page_stays_text() -> None:
    text = page("<b>&\"'", '"><script>', "15px")
    assert "<b>" not in text
    assert "<script>" not in text.replace("<script src", "")
    assert [f'data-font-size="{size}"' in page("x", "y", size) for size in ("20", "20")] == [True, True]
    assert all('data-font-size="14"' in page("x", "y", size) for size in ("", "0", "999", "-1", "²", "x" * 100))


# What is refused


def refused(*args: str | Path) -> str:
    done = subprocess.run(workbench("serve", *args), capture_output=True, text=True, timeout=30)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def test_other_machines_are_kept_out_unless_a_token_was_chosen(tmp_path: Path) -> None:
    for address in ("0.0.0.0", "::", "10.1.2.3", "example.org", ""):
        assert "anyone who reaches it runs commands as you" in refused("--address", address, "--home", tmp_path)
    assert "16 to 256" in refused("--address", "0.0.0.0", "--token", "short", "--home", tmp_path)
    assert "no address of this machine" in refused("--address", "192.0.2.1", "--token", TOKEN, "--home", tmp_path)


def test_a_port_that_is_taken_is_told(server: Server) -> None:
    assert f"port {server.port} is taken" in refused("--port", str(server.port), "--home", server.home)


def test_a_name_that_no_host_can_have_is_told(tmp_path: Path) -> None:
    assert "../x" in refused("--host", "../x", "--home", tmp_path)


def test_without_textual_serve_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['textual_serve'] = None; from workbench.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--home", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'neuron-workbench[serve]'" in done.stderr


def test_with_a_token_it_listens_elsewhere_and_says_what_that_means(own_home: Path) -> None:  # noqa: F811
    process = subprocess.Popen(
        workbench("serve", "--port", "0", "--address", "127.0.0.2", "--home", own_home),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "WORKBENCH_TOKEN": TOKEN},
    )
    assert process.stdout is not None
    try:
        assert "http://127.0.0.2:" in process.stdout.readline()
        assert "can run commands as you" in process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


# A tab


class Shown:
    """What a tab has on its screen."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._screen = pyte.Screen(120, 40)
        self._stream = pyte.ByteStream(self._screen)

    async def until(self, text: str) -> None:
        """Read on until it is there."""
        async with asyncio.timeout(30):
            while text not in "\n".join(self._screen.display):
                message = await self.socket.receive()
                assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT)
                if isinstance(message.data, bytes):
                    self._stream.feed(message.data)


def test_a_tab_is_the_app_on_the_one_host_and_ends_with_it(server: Server) -> None:
    async def visit() -> None:
        async with visitor(server) as session:
            connect = f"{server.base}/ws?width=100&height=30"
            async with (
                session.ws_connect(connect, origin=server.base) as one,
                session.ws_connect(connect, origin=server.base) as two,
            ):
                await Shown(one).until("History")
                other = Shown(two)
                await other.until("History")
                await asyncio.to_thread(until, lambda: find("default", server.home) is not None)
                tabs = server.tabs()
                assert len(tabs) == 2
                assert not any(HEAVY.search(Path(f"/proc/{pid}/maps").read_text()) for pid in tabs)
                for bad in ("", "x", "[]", "[1, 2]", '["resize", {}]', '["resize", 5]'):
                    await one.send_str(bad)
                await one.send_json(["resize", {"width": 120, "height": 40}])
                await one.send_json(["stdin", "set rows 7\r"])
                await other.until("rows 7")
                await one.send_str('["stdin", "\\ud800"]')
            await asyncio.to_thread(until, lambda: server.tabs() == [])
        assert [place.name for place in hosts(server.home)] == ["default"]
        found = find("default", server.home)
        assert found is not None
        assert found.welcome().busy is None

    run(visit())
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert not HEAVY.search(maps)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_server_is_the_end_of_its_tabs_and_not_of_the_host(
    server: Server, ending: signal.Signals
) -> None:
    async def visit() -> list[int]:
        async with visitor(server) as session, session.ws_connect(server.base + "/ws", origin=server.base) as socket:
            await Shown(socket).until("History")
            await asyncio.to_thread(until, lambda: find("default", server.home) is not None)
            tabs = server.tabs()
            server.process.send_signal(ending)
            while (await socket.receive()).type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                pass
            return tabs

    (tab,) = asyncio.run(visit())
    start = time.monotonic()
    assert server.process.wait(15) == (-ending if ending is signal.SIGKILL else 0)
    assert time.monotonic() - start < 5
    until(lambda: not Path(f"/proc/{tab}").exists(), 10)
    found = find("default", server.home)
    assert found is not None
    assert found.welcome().name == "default"


ASKING = """
import sys, json, os
def say(kind, data):
    os.write(1, kind + len(data).to_bytes(4, "big") + data)
os.write(1, b"__GANGLION__\\n")
say(b"M", json.dumps({"type": "open_url", "url": "http://evil.example", "new_tab": True}).encode())
say(b"M", json.dumps({"type": "deliver_file_start", "key": "k", "path": "/etc/passwd", "open_method": "browser",
    "mime_type": "text/html", "encoding": ""}).encode())
say(b"P", b"nonsense")
say(b"D", b"that was all")
sys.stdin.buffer.read(1)
"""


def test_nothing_that_an_app_writes_opens_a_page_or_sends_a_file(tmp_path: Path) -> None:
    async def visit() -> None:
        auth = Auth("127.0.0.1", unused_port(), TOKEN)
        served = Served(HostPaths(tmp_path, "default"), auth)
        served.words = [sys.executable, "-c", ASKING]
        base = f"http://127.0.0.1:{auth.port}"
        async with (
            TestServer(served.application(), port=auth.port),
            aiohttp.ClientSession(cookies={auth.cookie: TOKEN}) as session,
            session.ws_connect(f"{base}/ws", origin=base) as socket,
        ):
            heard = []
            while b"that was all" not in heard:
                heard.append((await socket.receive(10)).data)
            await socket.send_json(["stdin", "x"])
            heard.append((await socket.receive(10)).data)
        assert heard == [b"that was all", 1000]

    run(visit())


def drawn(frames: list[bytes]) -> str:
    """What these put on a screen that has room for all of it."""
    screen = pyte.Screen(200, 60)
    pyte.ByteStream(screen).feed(b"".join(frames))
    return "\n".join(screen.display)


@pytest.mark.skipif(chromium.PATH is None, reason="no Chromium is installed")
def test_in_chromium_a_line_is_typed_and_its_result_shown(server: Server, tmp_path: Path) -> None:
    async def visit() -> None:
        async with chromium.opened(server.url, tmp_path) as browser:
            await browser.until("document.body.classList.contains('-first-byte')")
            await asyncio.to_thread(until, lambda: find("default", server.home) is not None)
            await browser.type("set rows 7\n")
            async with asyncio.timeout(30):
                while "rows 7" not in drawn(browser.frames).split("wb>")[0]:
                    await asyncio.sleep(0.05)
            assert await browser.value("location.href") == server.base + "/"
            assert await browser.value("document.cookie") == ""
            own = (server.base + "/", server.base.replace("http:", "ws:") + "/")
            assert [url for url in browser.asked_for if not url.startswith((*own, "data:"))] == []
            assert [each for each in browser.complaints if "WebGL" not in each] == []
            await browser.picture(tmp_path / "tab.png")
            assert (tmp_path / "tab.png").stat().st_size > 5000

    run(visit())


@pytest.mark.parametrize("side", ["Infinity", "-Infinity", "NaN", "1e999", '"x"', "null", "[]", "9" * 5000])
def test_a_browser_that_asks_for_a_size_that_is_none_is_passed_over(side: str) -> None:
    try:
        asked = json.loads(side)
    except ValueError:  # more digits than Python reads
        return
    with pytest.raises((ValueError, TypeError)):
        cells(asked)


def test_a_size_without_bounds_is_bounded() -> None:
    assert (cells(10**30), cells(-5), cells(80.5)) == (2000, 1, 80)
