"""Hosts with a tiny model, and the package's own client on servers of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, TextContent

from tests.workbench.host.conftest import (  # the fixtures are used by name  # noqa: F401
    client,
    kept,
    lasting,
    own_home,
    ready,
    tiny_folder,
)
from workbench.agents import AgentAccess
from workbench.host.client import Client
from workbench.host.starting import environment

T = TypeVar("T")


def run(talk: Awaitable[T], seconds: float = 120) -> T:
    """The outcome of a talk, which has to end."""

    async def timed() -> T:
        return await asyncio.wait_for(talk, seconds)

    return asyncio.run(timed())


async def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is true, while clients and servers go on."""
    start = time.monotonic()
    while not await asyncio.to_thread(true):
        assert time.monotonic() - start < seconds
        await asyncio.sleep(0.02)


def command(host: Client, *options: str) -> StdioServerParameters:
    """How an agent's program starts a server of this host."""
    words = ["-P", "-m", "workbench", "mcp", "--host", host.name, "--home", str(host.home), *options]
    return StdioServerParameters(command=sys.executable, args=words, env=environment() | {"FORCE_COLOR": "1"})


def started(words: list[str], env: dict[str, str] | None = None, **streams: Any) -> subprocess.Popen[bytes]:
    """A Python process of these words."""
    return subprocess.Popen([sys.executable, *words], env={**os.environ, **(env or {})}, **streams)


def text(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def busy(host: Client) -> str:
    """The line that runs in a host; empty if none does."""
    running = host.welcome().busy
    return "" if running is None else running.line


@pytest.fixture
def access(kept: Client) -> AgentAccess:  # noqa: F811
    """What agents have access to by default, on a host with a tiny model and a prompt."""
    return AgentAccess(kept.name, kept.home)


def fields(result: CallToolResult) -> dict[str, Any]:
    assert result.structured_content is not None
    return result.structured_content
