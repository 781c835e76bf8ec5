"""One client over stdin and stdout: the process that an agent's program starts. It ends when stdin does."""

from __future__ import annotations

import asyncio
import signal

from mcp.server.stdio import stdio_server

from workbench.agents import AgentAccess
from workbench.agents.server import server_for


def serve(access: AgentAccess) -> None:
    """Serve the client until it closes stdin.

    Raises:
        ArtifactError: no host can have that name.
    """
    server = server_for(access)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread waits for stdin and would not hear of an exception

    async def talk() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    try:
        asyncio.run(talk())
    except* OSError:  # the client has gone, and nobody reads stdout
        pass
