"""A headless Chromium, told what to do over its debugging port. None of it is needed where none is installed."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

PATH = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-default-apps --disable-extensions --disable-dev-shm-usage"
    " --remote-debugging-port=0 --window-size=1100,700"
)


class Page:
    """One page, and everything it asked for and complained about since it was opened."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.asked_for: list[str] = []
        self.complaints: list[str] = []
        self.frames: list[bytes] = []

    async def hear(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told.get("result", told))
            match told.get("method"), told.get("params"):
                case "Network.requestWillBeSent", {"request": {"url": url}}:
                    self.asked_for.append(url)
                case "Network.webSocketCreated", {"url": url}:
                    self.asked_for.append(url)
                case "Log.entryAdded", {"entry": {"text": text}}:
                    self.complaints.append(text)
                case "Runtime.exceptionThrown", {"exceptionDetails": details}:
                    self.complaints.append(str(details))
                case "Network.webSocketFrameReceived", {"response": {"payloadData": data, "opcode": 2}}:
                    self.frames.append(base64.b64decode(data))

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        """Have something done, and wait for the answer."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(self._answers[number], 20)

    async def open(self, url: str) -> None:
        """Go there."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.do(f"{domain}.enable")
        await self.do("Page.navigate", url=url)

    async def value(self, script: str) -> Any:
        """What a piece of script says in the page."""
        told = await self.do("Runtime.evaluate", expression=script, returnByValue=True)
        return told["result"].get("value")

    async def until(self, script: str, seconds: float = 30) -> None:
        """Wait until it says something true."""
        async with asyncio.timeout(seconds):
            while not await self.value(script):
                await asyncio.sleep(0.05)

    async def type(self, text: str) -> None:
        """Type it, key by key; a newline is enter."""
        for letter in text:
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13} if letter == "\n" else {"key": letter}
            await self.do("Input.dispatchKeyEvent", type="keyDown", text="\r" if letter == "\n" else letter, **key)
            await self.do("Input.dispatchKeyEvent", type="keyUp", **key)

    async def picture(self, path: Path) -> None:
        """Keep what is on the screen, as PNG."""
        told = await self.do("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(told["data"]))


@asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncIterator[Page]:
    """A new Chromium with nothing in it but this page."""
    assert PATH is not None
    profile = folder / "chromium"
    process = subprocess.Popen(
        [PATH, *_QUIET.split(), f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            port = await _port(profile / "DevToolsActivePort")
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (target,) = [each for each in await answer.json() if each["type"] == "page"]
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                hearing = asyncio.create_task(page.hear())
                await page.open(url)
                yield page
                hearing.cancel()
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


async def _port(file: Path) -> int:
    async with asyncio.timeout(30):
        while True:
            with suppress(OSError, ValueError, IndexError):
                return int(file.read_text().splitlines()[0])
            await asyncio.sleep(0.05)
