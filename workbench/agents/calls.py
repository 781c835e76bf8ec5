"""Calls run in the host. Each has a connection of its own; when that is closed, the host stops the line."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path

import anyio.to_thread

from sessions.errors import WorkbenchError
from sessions.events import Event, Failed
from sessions.files.disk import make_folder, reported
from workbench.agents import AgentAccess
from workbench.host.client import Client, event_of, reply_in, short_enough
from workbench.host.log import MOST_BYTES
from workbench.host.messages import Finished, RefusedRequest, RunForAgent
from workbench.host.places import HostError
from workbench.host.starting import find_or_start

#: The folder in the home that relative paths start from.
FOLDER = "files"


async def events_of(access: AgentAccess, line: str, author: str) -> AsyncGenerator[Event, None]:
    """Run a line in the host, which is started if it does not run, and yield its events.

    Closing this stops the line, as does the end of this process. Nothing is raised for what goes wrong: the last event
    is a `Failed`.
    """
    try:
        client = await anyio.to_thread.run_sync(find_or_start, access.host, access.home, abandon_on_cancel=True)
        request = RunForAgent(
            line, secrets.token_hex(8), author, _folder(access, client.home), access.write_anywhere, access.trust
        )
        async with aclosing(_replies(client, request)) as events:
            async for event in events:
                yield event
    except WorkbenchError as error:
        yield Failed(error.kind, error.message, error.hint)


def _folder(access: AgentAccess, home: Path) -> str:
    """The folder that relative paths start from: one in the home, or where the server was started.

    Raises:
        ArtifactError: the home cannot be written.
    """
    if access.write_anywhere:
        with suppress(OSError):
            return os.getcwd()
    with reported("make", home / FOLDER):
        make_folder(home / FOLDER)
    return str(home / FOLDER)


async def _replies(client: Client, request: RunForAgent) -> AsyncGenerator[Event, None]:
    data = short_enough(request)
    connected = await anyio.to_thread.run_sync(client.connect, abandon_on_cancel=True)
    connected.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=connected, limit=MOST_BYTES)
    try:
        writer.write(data)
        while True:
            line = await reader.readline()
            if not line.endswith(b"\n"):
                raise client.ended()
            reply = reply_in(line)
            if isinstance(reply, Finished):
                return
            event = event_of(reply)
            if event is not None:
                yield event
            if isinstance(reply, RefusedRequest):
                return
    except (OSError, ValueError) as error:  # ValueError: a message longer than the limit
        raise client.trouble(error) if isinstance(error, OSError) else HostError(str(error)) from error
    finally:
        writer.close()
