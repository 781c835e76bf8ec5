"""The app behind one browser tab: a process of its own, which ends with the tab."""

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

#: What a web driver writes before all else.
_BEGINS = b"__GANGLION__\n"
#: Seconds that an app may take to end, asked and told to; after these it is killed.
ASKED, TOLD = 3.0, 2.0
#: Cells a side of a terminal may have.
_LARGEST = 2000


class Tab(AppService):
    """The app of a tab.

    Of what an app can ask a browser for, only its end is passed on: nothing in the workbench opens pages or sends
    files, so nothing that gets into its output can.
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
        # Without a shell, so that nothing is quoted; in a session of its own, so that ctrl-c is the server's alone.
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
            # What draws is the browser, not the terminal in which the server was started.
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }

    async def run(self) -> None:
        """Pass on what the app writes, until it ends; of what it complained, only where it ended badly."""
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None
        complaints = asyncio.create_task(process.stderr.read())
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            await self._pass_on(process.stdout)  # until the app ends, or shows that it is none, or the browser goes
        await self._hang_up()
        await process.stdout.read()  # what nobody hears any more; an app that has to wait with it does not end
        said = await complaints
        if await process.wait() and said:
            print(plain(said.decode(errors="replace")), file=sys.stderr, flush=True)

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
        """Pass on what the browser says, until it goes."""
        async for message in self._websocket:
            if message.type != WSMsgType.TEXT:
                continue
            # What is not understood is passed over: a browser can send what it likes.
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
        """End the app; the host goes on."""
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
    """A side of a terminal.

    Raises:
        ValueError, TypeError: that is no number, or none that ends.
    """
    try:
        return min(max(int(value), 1), _LARGEST)
    except OverflowError as error:
        raise ValueError(f"{value} has no end") from error
