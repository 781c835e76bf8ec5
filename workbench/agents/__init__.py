"""`workbench mcp`: the verbs as tools for agents, over the Model Context Protocol.

`tools` describes each verb as a tool and makes the line of a call, `calls` runs it in the host, and `results` says what
came of it. `server` joins them; `stdio` serves one client, `unix_socket` any number. Nothing here needs a model: a
server is a client of the host, like a terminal.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from sessions.errors import WorkbenchError


class AgentError(WorkbenchError):
    """Agents cannot be served with these options."""

    kind = "mcp"


class AgentAccess(Struct, frozen=True):
    """What agents have access to: a host by its name and home, and what their lines may do there.

    With `write_anywhere` they may write files outside the home; with `trust` they may let a model's own code run.
    """

    host: str
    home: Path | None = None
    write_anywhere: bool = False
    trust: bool = False
