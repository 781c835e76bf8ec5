"""Any number of clients over a Unix socket in the host's folder, for its owner alone."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import Any

import anyio
import click
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import Server
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from sessions.files.disk import alone
from workbench.agents import AgentAccess
from workbench.agents.server import server_for
from workbench.host.messages import LARGEST
from workbench.host.places import HostPaths, is_own, listening_at

#: The name of the socket in the host's folder, and of the lock of who listens there.
NAME = "mcp.socket"
_LOCK = "mcp.lock"

_Incoming = MemoryObjectSendStream[SessionMessage | Exception]
_Outgoing = MemoryObjectReceiveStream[SessionMessage]


def serve(access: AgentAccess) -> None:
    """Serve clients until SIGINT or SIGTERM.

    Raises:
        ArtifactError: no host can have that name, or another process serves it on its socket.
        HostError: no socket can be created.
    """
    place = HostPaths(access.home, access.host)
    server = server_for(access)
    place.make()
    with alone(place.folder / _LOCK, f"the host {place.name} is served to agents already"):
        listening, path = listening_at(place, NAME)
        try:
            click.echo(f"host {place.name} for agents: {path}", err=True)
            asyncio.run(_accept(server, listening))
        finally:
            listening.close()
            path.unlink(missing_ok=True)


async def _accept(server: Server[Any], listening: Any) -> None:
    talks: set[asyncio.Task[None]] = set()

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            if is_own(writer.get_extra_info("socket")):
                await _talk(server, reader, writer)
        finally:
            talks.discard(task)
            writer.close()

    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with await asyncio.start_unix_server(met, sock=listening, limit=LARGEST):
        await over.wait()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def _talk(server: Server[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client until it disconnects."""
    to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception]()
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage]()
    async with anyio.create_task_group() as group:
        group.start_soon(_read, reader, to_server)
        group.start_soon(_write, writer, from_server)
        await server.run(incoming, outgoing, server.create_initialization_options())
        group.cancel_scope.cancel()


async def _read(reader: asyncio.StreamReader, to_server: _Incoming) -> None:
    """Pass on what the client sends. What is no message is passed on as an error; a line too long ends the talk."""
    async with to_server:
        with suppress(OSError, ValueError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while (line := await reader.readline()).endswith(b"\n"):
                try:
                    message = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except (ValueError, RecursionError) as error:
                    await to_server.send(error)
                else:
                    await to_server.send(message)


async def _write(writer: asyncio.StreamWriter, from_server: _Outgoing) -> None:
    """Send what the server says. Once the client has gone, it is dropped."""
    async with from_server:
        async for said in from_server:
            with suppress(OSError):
                writer.write(said.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await writer.drain()
