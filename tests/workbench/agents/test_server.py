"""Agents at work: calls run in the host, are stopped when nobody wants them any longer, and harm nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
import pytest
from mcp import Client as Agent
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter
from msgspec import structs

from sessions.events import Result
from tests.workbench.agents.conftest import busy, command, fields, run, started, text, until
from tests.workbench.host.conftest import done, events, said, setting
from tests.workbench.host.test_host import ENDLESS, records, running
from workbench.agents import AgentAccess
from workbench.agents.server import server_for
from workbench.host.client import Client

FOREVER = {"max_tokens": 100_000}


# What a call is


def test_a_call_is_a_line_in_the_session(kept: Client, access: AgentAccess) -> None:
    async def talk() -> None:
        async with Agent(server_for(access)) as agent:
            result = await agent.call_tool("set", {"name": "top", "value": 7})
            assert not result.is_error
            assert text(result) == "top 7"
            assert fields(result)["kind"] == "SettingsShown" and fields(result)["settings"]["top"] == "7"

    run(talk())
    assert setting(kept, "top") == "7"
    record = records(kept, "set")[0]
    assert (record.line, record.author) == ("set top 7", "agent mcp")


def test_what_fails_is_an_error_with_what_to_do(access: AgentAccess) -> None:
    async def talk() -> None:
        async with Agent(server_for(access)) as agent:
            for name, arguments, kind in (
                ("load", {"name": "nothing"}, "artifact"),
                ("set", {"name": "tpo", "value": "7"}, "usage"),
                ("nonsense", {}, "usage"),
            ):
                result = await agent.call_tool(name, arguments)
                assert result.is_error
                assert fields(result)["error"] == kind
                assert fields(result)["message"] and fields(result)["hint"]
                assert text(result) == f"✗ {fields(result)['message']}\n→ {fields(result)['hint']}"

    run(talk())


def test_a_client_is_told_how_far_a_call_is(access: AgentAccess) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def tell(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    async def talk() -> None:
        async with Agent(server_for(access)) as agent:
            arguments = {"target": " a", "keep_universal": True, "verify": 5}
            known = next(tool for tool in (await agent.list_tools()).tools if tool.name == "discover")
            given = {key: value for key, value in arguments.items() if key in known.input_schema["properties"]}
            result = await agent.call_tool("discover", given, progress_callback=tell)
            assert not result.is_error, text(result)

    run(talk())
    numbers = [done for done, _, _ in told]
    assert numbers and numbers == sorted(set(numbers))
    assert all(total is None or done <= total for done, total, _ in told)
    assert all(message for _, _, message in told)


def test_the_state_and_the_journal_can_be_read(kept: Client, access: AgentAccess) -> None:
    async def talk() -> tuple[Any, Any]:
        async with Agent(server_for(access)) as agent:
            assert [str(each.uri) for each in (await agent.list_resources()).resources] == [
                "workbench://state", "workbench://journal",
            ]  # fmt: skip
            with pytest.raises(MCPError, match="there is no resource"):
                await agent.read_resource("workbench://nothing")
            await agent.call_tool("set", {})
            read = [await agent.read_resource(f"workbench://{name}") for name in ("state", "journal")]
            state, journal = (json.loads(each.contents[0].text) for each in read)  # type: ignore[union-attr]
            return state, journal

    state, journal = run(talk())
    assert state["model"] and state["prompt"]
    assert (journal[-1]["line"], journal[-1]["author"], journal[-1]["outcome"]) == ("set", "agent mcp", "result")


# Calls that nobody wants any longer


def test_a_cancelled_call_stops_at_once(kept: Client, access: AgentAccess) -> None:
    async def talk() -> None:
        async with Agent(server_for(access)) as agent:
            call = asyncio.create_task(agent.call_tool("generate", FOREVER))
            await until(lambda: busy(kept) == ENDLESS)
            call.cancel()
            await until(lambda: busy(kept) == "", 5)
            assert not (await agent.call_tool("set", {"name": "top", "value": 8})).is_error

    run(talk())
    assert records(kept, "generate")[-1].outcome == "failed"
    assert setting(kept, "top") == "8"


def test_a_call_that_waits_is_cancelled_without_the_one_before_it(kept: Client, access: AgentAccess) -> None:
    async def talk() -> None:
        async with Agent(server_for(access)) as one, Agent(server_for(access)) as other:
            first = asyncio.create_task(one.call_tool("generate", FOREVER))
            await until(lambda: busy(kept) == ENDLESS)
            second = asyncio.create_task(other.call_tool("set", {"name": "top", "value": 9}))
            await until(lambda: kept.welcome().waiting == ("set top 9",))
            second.cancel()
            await until(lambda: kept.welcome().waiting == (), 5)
            assert busy(kept) == ENDLESS
            first.cancel()
            await until(lambda: busy(kept) == "", 5)

    run(talk())
    assert setting(kept, "top") != "9"


def test_clients_share_the_session_and_wait_for_each_other(kept: Client, access: AgentAccess) -> None:
    waited: list[str | None] = []

    async def tell(_done: float, _total: float | None, message: str | None) -> None:
        waited.append(message)

    async def talk() -> None:
        async with Agent(server_for(access)) as one, Agent(server_for(access)) as other:
            first = asyncio.create_task(one.call_tool("generate", FOREVER))
            await until(lambda: busy(kept) == ENDLESS)
            second = asyncio.create_task(other.call_tool("set", {"name": "top", "value": 6}, progress_callback=tell))
            await until(lambda: kept.welcome().waiting == ("set top 6",))
            first.cancel()
            assert text(await second) == "top 6"

    run(talk())
    assert setting(kept, "top") == "6"
    assert waited == ["waiting for a line before it"]


def test_an_agent_does_not_stop_what_a_person_runs(kept: Client, access: AgentAccess) -> None:
    async def talk() -> None:
        async with Agent(server_for(access)) as agent:
            ticket = kept.send(ENDLESS)
            await until(lambda: busy(kept) == ENDLESS)
            call = asyncio.create_task(agent.call_tool("set", {}))
            await until(lambda: kept.welcome().waiting == ("set",))
            call.cancel()
            await until(lambda: kept.welcome().waiting == ())
            assert busy(kept) == ENDLESS
            kept.cancel(ticket)

    run(talk())


# Clients that vanish, over stdin and stdout

#: An agent's program: it calls a verb that never ends.
VANISHING = """
import asyncio, os, sys
from mcp import Client
from mcp.client.stdio import StdioServerParameters

async def main():
    server = StdioServerParameters(command=sys.executable, args=sys.argv[1:], env=dict(os.environ))
    async with Client(server) as agent:
        await agent.call_tool("generate", {"max_tokens": 100000})

asyncio.run(main())
"""


def vanishing(kept: Client) -> subprocess.Popen[bytes]:
    """An agent's program whose call runs."""
    server = command(kept)
    process = subprocess.Popen(
        [sys.executable, "-c", VANISHING, *server.args], env={**os.environ, **(server.env or {})}
    )
    running(kept, ENDLESS)
    return process


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("victim", ["agent", "server"])
def test_nothing_runs_on_for_a_client_that_was_killed(kept: Client, victim: str) -> None:
    process = vanishing(kept)
    (server,) = children(process.pid)
    waits = kept.send("set top 11")
    os.kill(process.pid if victim == "agent" else server, signal.SIGKILL)
    run(until(lambda: busy(kept) == "", 30))
    assert any(isinstance(event, Result) for event in events(said(kept, waits)))
    assert setting(kept, "top") == "11"
    run(until(lambda: gone(server)))
    process.kill()
    process.wait()


def test_over_stdio_an_agent_works_in_a_session_that_outlives_it(kept: Client) -> None:
    async def talk() -> None:
        async with Agent(command(kept)) as agent:
            assert agent.instructions and "discover" in agent.instructions
            assert len((await agent.list_tools()).tools) > 80
            assert text(await agent.call_tool("set", {"name": "top", "value": 12})) == "top 12"

    run(talk())
    assert setting(kept, "top") == "12"


def test_an_old_client_begins_with_a_handshake(kept: Client) -> None:
    async def talk() -> None:
        async with Agent(command(kept), mode="legacy") as agent:
            assert agent.server_info is not None and agent.server_info.name == "workbench"
            assert text(await agent.call_tool("set", {"name": "top", "value": 13})) == "top 13"

    run(talk())


def test_garbage_on_stdin_is_passed_over_and_its_end_ends_the_server(kept: Client) -> None:
    server = command(kept)
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HANDSHAKE}
    garbage = [
        b"nonsense",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": 7, "method": "no"}',
        b"",
    ]
    said = b"\n".join([*garbage, json.dumps(request).encode(), *garbage, b""])
    with started(server.args, server.env, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        answered, errors = process.communicate(said, 60)
    assert process.returncode == 0 and b"Traceback" not in errors
    answers = [json.loads(line) for line in answered.splitlines()]
    assert 1 in [answer["id"] for answer in answers]
    done(kept, "set")


HANDSHAKE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "one", "version": "1"}}


def test_a_host_that_is_killed_comes_back_with_the_next_call(ready: Client) -> None:
    access = AgentAccess(ready.name, ready.home)

    async def talk() -> None:
        async with Agent(server_for(access)) as agent:
            call = asyncio.create_task(agent.call_tool("generate", FOREVER))
            await until(lambda: busy(ready) == ENDLESS)
            os.kill(ready.pid, signal.SIGKILL)
            failed = await call
            assert failed.is_error and "ended before the line did" in text(failed)
            assert not (await agent.call_tool("tokens", {})).is_error

    run(talk())


# Limits


def test_files_are_written_in_a_folder_of_the_home(kept: Client, access: AgentAccess, tmp_path: Path) -> None:
    async def talk() -> None:
        async with Agent(server_for(access)) as agent:
            few = {"file": "some.jsonl", "count": 2}
            assert not (await agent.call_tool("surgery_problems", few)).is_error
            outside = await agent.call_tool("surgery_problems", {"file": str(tmp_path / "some.jsonl")})
            assert outside.is_error and "is outside the home folder" in text(outside)
            script = kept.home / "files" / "some.wb"
            for line in (f"surgery problems {tmp_path}/some.jsonl", "model tiny --trust-remote-code"):
                script.write_text(line)
                for trust in (False, True):
                    assert (await agent.call_tool("run", {"path": "some.wb", "trust": trust})).is_error
            trusting = await agent.call_tool("model", {"name": "tiny", "trust_remote_code": True})
            assert trusting.is_error and "workbench mcp --trust" in text(trusting)

    run(talk())
    assert (kept.home / "files" / "some.jsonl").is_file()
    assert not (tmp_path / "some.jsonl").exists()
    done(kept, f"surgery problems {tmp_path}/some.jsonl --count 2")  # a person's next line has no such limits


def test_a_server_that_was_started_so_lifts_a_limit(
    access: AgentAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def talk() -> None:
        async with Agent(server_for(structs.replace(access, write_anywhere=True))) as agent:
            assert not (await agent.call_tool("surgery_problems", {"file": "some.jsonl", "count": 2})).is_error
            assert (await agent.call_tool("model", {"name": "tiny", "trust_remote_code": True})).is_error
        async with Agent(server_for(structs.replace(access, trust=True))) as agent:
            missing = await agent.call_tool("model", {"name": "./none", "trust_remote_code": True})
            assert "own code" not in text(missing) and "none" in text(missing)

    run(talk())
    assert (tmp_path / "some.jsonl").is_file()


# The socket


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Any]:
    """A transport for the package's client: the Unix socket."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
    to_client, incoming = anyio.create_memory_object_stream[SessionMessage | Exception]()
    outgoing, from_client = anyio.create_memory_object_stream[SessionMessage]()

    async def read() -> None:
        async with to_client:
            while line := await reader.readline():
                await to_client.send(SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False)))

    async def write() -> None:
        async for message in from_client:
            writer.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(write)
        yield incoming, outgoing
        group.cancel_scope.cancel()
        writer.close()


@pytest.fixture
def listening(kept: Client) -> Any:
    """The path of a socket on which the host is served to agents, and the process that does."""
    server = command(kept, "--socket")
    process = started(server.args, server.env, stderr=PIPE)
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    assert line.startswith("host one for agents: ")
    yield Path(line.removeprefix("host one for agents: ").strip()), process
    process.terminate()
    process.wait()
    process.stderr.close()


def test_several_agents_are_served_on_a_socket(kept: Client, listening: Any) -> None:
    path, process = listening
    assert path.stat().st_mode & 0o777 == 0o600

    async def talk() -> None:
        async with Agent(connected(path)) as one, Agent(connected(path)) as other:
            first = asyncio.create_task(one.call_tool("generate", FOREVER))
            await until(lambda: busy(kept) == ENDLESS)
            second = asyncio.create_task(other.call_tool("set", {"name": "top", "value": 14}))
            await until(lambda: kept.welcome().waiting == ("set top 14",))
            first.cancel()
            assert text(await second) == "top 14"

    run(talk())
    process.terminate()
    assert process.wait(10) == 0
    assert not path.exists()


def test_an_agent_that_hangs_up_leaves_nothing_running(kept: Client, listening: Any) -> None:
    path, _ = listening

    async def talk() -> None:
        async with Agent(connected(path)) as agent:
            call = asyncio.create_task(agent.call_tool("generate", FOREVER))
            await until(lambda: busy(kept) == ENDLESS)
            with socket.socket(socket.AF_UNIX) as hostile:  # another one, without manners
                hostile.connect(str(path))
                with suppress(BrokenPipeError):  # the server may hang up before it is all sent
                    hostile.sendall(b"nonsense\n{}\n" + b"x" * 2**21)
            assert busy(kept) == ENDLESS
        assert call.done() or call.cancel()

    run(talk())
    run(until(lambda: busy(kept) == "", 30))

    async def again() -> None:
        async with Agent(connected(path)) as agent:
            assert not (await agent.call_tool("set", {})).is_error

    run(again())


def test_a_host_is_served_on_one_socket_only(kept: Client, listening: Any) -> None:
    server = command(kept, "--socket")
    with started(server.args, server.env, stderr=PIPE) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is served to agents already" in errors.decode() and b"Traceback" not in errors


# Starting


def test_without_the_package_one_sentence_says_what_to_install() -> None:
    code = "import sys; sys.modules['mcp'] = None; from workbench.cli import main; main(['mcp'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "✗ mcp is not installed\n→ pip install 'neuron-workbench[mcp]'\n"
    assert ended.stdout == ""


def test_the_command_line_needs_the_package_for_this_alone() -> None:
    heavy = "[name for name in ('mcp', 'mcp_types', 'pydantic', 'torch') if name in sys.modules]"
    code = f"import sys, workbench.cli, workbench.agents, workbench.agents.starting; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_server_needs_no_model() -> None:
    heavy = "[name for name in ('torch', 'transformers', 'numpy') if name in sys.modules]"
    code = f"import sys, workbench.agents.stdio, workbench.agents.unix_socket; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_host_that_is_no_name_is_refused() -> None:
    code = "from workbench.cli import main; main(['mcp', '--host', '../up'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert ended.returncode == 1 and ended.stdout == "" and ended.stderr.startswith("✗ ")
