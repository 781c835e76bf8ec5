"""The thread that serves the host's socket, so that clients are answered whatever the running command does.

Each client reads the log at its own pace: a slow or lost client delays nobody.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from workbench.host.messages import (
    LARGEST,
    Attach,
    CancelLine,
    Complete,
    Ended,
    Message,
    Missed,
    Ping,
    RefusedRequest,
    Request,
    RunForAgent,
    RunLine,
    Stop,
    read_request,
    written,
)
from workbench.host.places import BACKLOG, is_own

if TYPE_CHECKING:
    from workbench.host.process import Host

_AT_ONCE = 2**18  # bytes of the log sent to a client at once
_FAREWELL = 1.0  # seconds in which clients may read the last messages


class Serving:
    """The thread that serves a host's clients, from `start` to `stop`."""

    def __init__(self, host: Host, listening: socket.socket) -> None:
        self._host = host
        self._listening = listening
        self._loop = asyncio.new_event_loop()
        self._clients: set[_Connection] = set()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._told = False
        self._thread = threading.Thread(target=self._serve, name="clients", daemon=True)

    def start(self) -> None:
        self._host.log.on_news = self._news
        self._thread.start()

    def stop(self) -> None:
        """Send `Ended` and end. Never called in the thread that serves."""
        self._loop.call_soon_threadsafe(self._over.set_result, None)
        self._thread.join()

    def _news(self) -> None:
        """Wake the clients: the log has grown. Called from any thread, often; one wake-up serves many calls."""
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._told = False
        for client in self._clients:
            client.news.set()

    def _serve(self) -> None:
        self._loop.run_until_complete(self._accept())
        self._loop.close()

    async def _accept(self) -> None:
        server = await asyncio.start_unix_server(self._met, sock=self._listening, limit=LARGEST, backlog=BACKLOG)
        await self._over
        server.close()
        for client in self._clients:
            client.ending = True
        self._wake()
        talks = [client.task for client in self._clients]
        if talks:
            await asyncio.wait(talks, timeout=_FAREWELL)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not is_own(writer.get_extra_info("socket")):
            writer.write(written(RefusedRequest("this host belongs to another user", "start one of your own")))
        else:
            client = _Connection(self._host, reader, writer)
            self._clients.add(client)
            try:
                await client.talk()
            finally:
                self._clients.discard(client)
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()


class _Connection:
    """One client: its requests are answered in order, and messages are sent as fast as it reads."""

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.news = asyncio.Event()
        self.ending = False
        self.task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._host = host
        self._reader = reader
        self._writer = writer
        self._attached = False
        self._tickets: set[str] = set()
        self._bound: list[str] = []  # tickets of lines that are stopped when the client disconnects
        self._at = host.log.next

    async def talk(self) -> None:
        """Serve the client until it disconnects or the host ends."""
        listening = asyncio.ensure_future(self._listen())
        speaking = asyncio.ensure_future(self._speak())
        try:
            done, _ = await asyncio.wait([listening, speaking], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                with suppress(OSError):
                    task.result()
        finally:
            for task in (listening, speaking):
                task.cancel()
            for ticket in self._bound:
                self._host.cancel(ticket)
            if not self.task.done():
                self.task.set_result(None)

    async def _listen(self) -> None:
        async for line in self._lines():
            await self._say(*self._answered(line))

    async def _lines(self) -> AsyncIterator[bytes | None]:
        """Yield what the client sends, line by line; None for a line that is too long, which is skipped."""
        while True:
            try:
                yield await self._reader.readuntil()
            except asyncio.IncompleteReadError:  # disconnected; half a message is dropped
                return
            except asyncio.LimitOverrunError as error:
                await self._read_past(error.consumed)
                yield None

    async def _read_past(self, consumed: int) -> None:
        while True:
            await self._reader.readexactly(consumed)
            try:
                await self._reader.readuntil()
                return
            except asyncio.LimitOverrunError as error:
                consumed = error.consumed

    def _answered(self, line: bytes | None) -> tuple[Message, ...]:
        if line is None:
            return (
                RefusedRequest(f"the message has more than {LARGEST} bytes", "put a long text into a command file"),
            )
        try:
            return self._done(read_request(line))
        except (ValueError, RecursionError) as error:
            return (RefusedRequest(f"the message cannot be read: {error}", "the client may be of another version"),)

    def _done(self, request: Request) -> tuple[Message, ...]:
        """Carry out a request. Returns the immediate answers."""
        host = self._host
        match request:
            case Attach(since=since):
                self._attached = True
                self._at = self._at if since is None else max(since, 1)
                self.news.set()
                return (host.welcome(),)
            case Ping():
                return (host.welcome(),)
            case RunLine():
                self._tickets.add(request.ticket)
                if isinstance(request, RunForAgent) and request.ticket:
                    self._bound.append(request.ticket)
                return host.take(request)
            case CancelLine(ticket=ticket):
                return (host.cancel(ticket),)
            case Stop():
                return (host.stopping(),)
            case Complete():
                return (host.completions(request),)

    async def _speak(self) -> None:
        """Send messages of the log as they arrive."""
        while True:
            missed, self._at, entries = self._host.log.after(self._at, _AT_ONCE)
            if missed and self._attached:
                await self._say(Missed(missed))
            data = b"".join(entry.data for entry in entries if self._attached or entry.ticket in self._tickets)
            if data:
                self._writer.write(data)
                await self._writer.drain()
            if not entries and self.ending:
                await self._say(Ended())
                return
            if not entries:
                await self.news.wait()
                self.news.clear()

    async def _say(self, *messages: Message) -> None:
        if messages:
            self._writer.write(b"".join(map(written, messages)))
            await self._writer.drain()
