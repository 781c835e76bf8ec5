"""The app behind one browser tab: a process that ends with the tab."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from workbench.host.starting import environment
from workbench.writing import plain

#: The first bytes that a web driver writes.
_BEGINS = b"__GANGLION__\n"
#: Seconds that an app may take to end after a quit message, then after SIGTERM; then it is killed.
ASKED, TOLD = 3.0, 2.0
#: The most cells of a terminal's width or height.
_LARGEST = 2000


class Tab(AppService):
    """The app of a tab.

    Of the requests that an app can make to a browser, only the exit is passed on. The workbench opens no pages and
    sends no files, so text in its output cannot do so either.
    """

    def __init__(self, words: Sequence[str], websocket: web.WebSocketResponse) -> None:
        super().__init__(
            "",
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=self._hang_up,
            download_manager=DownloadManager(),
        )
        self._words = words
        self._websocket = websocket

    async def _hang_up(self) -> None:
        await self._websocket.close()

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        # Without a shell, so that nothing needs quoting; in a new session, so that ctrl-c reaches the server only.
        self._process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._build_environment(width, height),
            start_new_session=True,
        )
        self._stdin = self._process.stdin
        return self._process

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        built = super()._build_environment(width, height)
        built.pop("WORKBENCH_TOKEN", None)
        return {
            **built,
            "PYTHONPATH": environment().get("PYTHONPATH", ""),
            "TEXTUAL_DRIVER": "workbench.browser.driver:BrowserDriver",
            # The browser draws, not the terminal in which the server was started.
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }

    async def run(self) -> None:
        """Pass on what the app writes until it ends. Its stderr is shown only if it failed."""
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None
        complaints = asyncio.create_task(process.stderr.read())
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            await self._pass_on(process.stdout)  # until the app ends, writes something else, or the browser leaves
        await self._hang_up()
        await process.stdout.read()  # drain it: an app blocked on writing would not end
        stderr = await complaints
        if await process.wait() and stderr:
            print(plain(stderr.decode(errors="replace")), file=sys.stderr, flush=True)

    async def _pass_on(self, stream: asyncio.StreamReader) -> None:
        await stream.readuntil(_BEGINS)
        while True:
            kind, size = await stream.readexactly(1), await stream.readexactly(4)
            data = await stream.readexactly(int.from_bytes(size, "big"))
            if kind == b"D":
                await self._websocket.send_bytes(data)
            elif kind == b"M" and json.loads(data).get("type") == "exit":
                return

    async def hear(self) -> None:
        """Pass on the browser's messages until it leaves."""
        async for message in self._websocket:
            if message.type != WSMsgType.TEXT:
                continue
            # Ignore malformed messages: a browser can send anything.
            with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
                await self._heard(*json.loads(message.data))

    async def _heard(self, kind: str, data: Any = None) -> None:
        match kind:
            case "stdin":
                await self.send_bytes(str(data).encode(errors="replace"))
            case "resize":
                await self.set_terminal_size(cells(data["width"]), cells(data["height"]))
            case "ping":
                await self._websocket.send_json(["pong", data])
            case "blur":
                await self.blur()
            case "focus":
                await self.focus()

    async def stop(self) -> None:
        """End the app; the host keeps running."""
        process, task = self._process, self._task
        if process is None or task is None:
            return
        await self.send_meta({"type": "quit"})
        for end, seconds in ((process.terminate, ASKED), (process.kill, TOLD)):
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), seconds)
                break
            with suppress(ProcessLookupError):
                end()
        await process.wait()
        await task
        self._task = None


def cells(value: Any) -> int:
    """A terminal's width or height, within limits.

    Raises:
        ValueError, TypeError: the value is not a finite number.
    """
    try:
        return min(max(int(value), 1), _LARGEST)
    except OverflowError as error:
        raise ValueError(f"{value} is not finite") from error
