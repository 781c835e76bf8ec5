"""The server: answers a client's requests for tools, calls and resources.

Several clients may be served at once. Each call is a line of its own in the host, where lines wait for each other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import anyio.to_thread
import msgspec
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    TextContent,
    TextResourceContents,
)

from sessions.errors import WorkbenchError
from sessions.events import Failed, Progress, Result, State
from sessions.journal import recent
from workbench import __version__
from workbench.agents import AgentAccess
from workbench.agents.calls import events_of
from workbench.agents.results import structured, text_of
from workbench.agents.tools import line_of_call, tools
from workbench.host.places import HostPaths
from workbench.host.starting import find
from workbench.writing import amount, inline

_INSTRUCTIONS = """\
A workbench for the neurons of a language model. One session holds a model, a prompt, a circuit, edits and settings; \
each tool is a verb that uses or changes it, and other people may use the same session. Begin with model (smollm2 is \
built in), then prompt, seed and discover. info shows what the session holds, help explains verbs and selections, undo \
takes a change back.

Descriptions show verbs as typed lines: an option --max-tokens 8 there is the argument max_tokens: 8 here. Relative \
paths start from a folder in the home; info names the home.\
"""
#: Seconds between two notifications of progress, and the bytes of a MB.
_PACE, _MEGA = 0.5, 1e6
#: The longest name of a client, and how many commands of the journal are shown.
_LONGEST_NAME, _RECENT = 60, 50

_Context = ServerRequestContext[Any, Any]


def server_for(access: AgentAccess) -> Server[Any]:
    """A server of the host's verbs, for any number of connections.

    Raises:
        ArtifactError: no host can have that name.
    """
    place = HostPaths(access.home, access.host)
    access = msgspec.structs.replace(access, home=place.home)
    listed = ListToolsResult(tools=tools())
    resources = _resources(place)

    async def list_tools(_context: _Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return listed

    async def call_tool(context: _Context, params: CallToolRequestParams) -> CallToolResult:
        try:
            line = line_of_call(params.name, params.arguments or {}, place.home)
        except WorkbenchError as error:
            return _result(Failed(error.kind, error.message, error.hint))
        progress = _Notifications(context)
        outcome: Result | Failed = Failed("host", "the host said nothing about the line", "workbench hosts lists them")
        async with aclosing(events_of(access, line, _author(context))) as events:
            async for event in events:
                if isinstance(event, Progress):
                    await progress.tell(event)
                elif isinstance(event, Result | Failed):
                    outcome = event
        return _result(outcome)

    async def list_resources(_context: _Context, _params: PaginatedRequestParams | None) -> ListResourcesResult:
        return ListResourcesResult(resources=[resource for resource, _ in resources.values()])

    async def read_resource(_context: _Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        if str(params.uri) not in resources:
            raise MCPError(INVALID_PARAMS, f"there is no resource {params.uri}; there are: {', '.join(resources)}")
        try:
            text = await anyio.to_thread.run_sync(resources[str(params.uri)][1], abandon_on_cancel=True)
        except WorkbenchError as error:
            raise MCPError(INVALID_PARAMS, str(error)) from error
        contents = TextResourceContents(uri=params.uri, mime_type="application/json", text=text)
        return ReadResourceResult(contents=[contents])

    return Server(
        "workbench",
        version=__version__,
        title="Neuron workbench",
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


def _result(outcome: Result | Failed) -> CallToolResult:
    text: list[ContentBlock] = [TextContent(type="text", text=text_of(outcome))]
    failed = isinstance(outcome, Failed)
    return CallToolResult(content=text, structured_content=structured(outcome), is_error=failed)


def _author(context: _Context) -> str:
    """Who calls, for the people who share the session."""
    client = context.session.client_params
    name = inline(client.client_info.name) if client is not None and client.client_info is not None else ""
    return f"agent {name}"[:_LONGEST_NAME].rstrip()


class _Notifications:
    """The progress of a call as notifications whose numbers always rise, as the protocol wants.

    A command may count several things in turn. The first keeps its numbers (bytes become MB); each one after it goes on
    from where the one before it was, and the message has its own numbers.
    """

    def __init__(self, context: _Context) -> None:
        self._context = context
        self._label = ""
        self._base = 0.0
        self._last = -1.0
        self._told = float("-inf")

    async def tell(self, event: Progress) -> None:
        begins, now = event.label != self._label, time.monotonic()
        ends = bool(event.total) and event.done == event.total
        if not (begins or ends) and now - self._told < _PACE:
            return
        if begins:
            self._label, self._base = event.label, self._last + 1
        scale = _MEGA if event.unit in ("B", "bytes") else 1.0
        at = self._base + event.done / scale
        if at <= self._last:
            return
        self._last, self._told = at, now
        done = f" {amount(event.done, event.total, event.unit)}" if event.done or event.total else ""
        total = self._base + event.total / scale if event.total else None
        await self._context.session.report_progress(at, total, f"{inline(event.label)}{done}")


def _resources(place: HostPaths) -> dict[str, tuple[Resource, Callable[[], str]]]:
    """What can be read beside calling verbs, by its address."""

    def state() -> str:
        client = find(place.name, place.home)
        return msgspec.json.encode(State() if client is None else client.state()).decode()

    def journal() -> str:
        records = recent(place.folder / "journal.jsonl", _RECENT)
        rows = [
            {"time": each.time, "author": each.author, "line": each.line, "outcome": each.outcome} for each in records
        ]
        return json.dumps(rows, ensure_ascii=False)

    about = {
        "state": ("What the session holds now: model, prompt, circuit, interventions, edits", state),
        "journal": (f"The last {_RECENT} commands of the session, whoever gave them, oldest first", journal),
    }
    return {
        f"workbench://{name}": (
            Resource(uri=f"workbench://{name}", name=name, description=text, mime_type="application/json"),
            read,
        )
        for name, (text, read) in about.items()
    }
