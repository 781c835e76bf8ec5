"""Starts a server of agents, or says which package it needs."""

from __future__ import annotations

from workbench.agents import AgentAccess, AgentError

#: Packages that only this server needs.
_NEEDED = ("mcp", "mcp_types", "anyio", "pydantic")


def serve(access: AgentAccess, on_socket: bool) -> None:
    """Serve agents over stdin and stdout until stdin ends, or on a Unix socket until SIGINT or SIGTERM.

    Raises:
        WorkbenchError: a package is missing, no host can have that name, or its socket is served already.
    """
    try:
        from workbench.agents import stdio, unix_socket
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise AgentError("mcp is not installed", "pip install 'neuron-workbench[mcp]'") from None
    (unix_socket if on_socket else stdio).serve(access)
