"""What the README shows runs as it is shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from commands import run, script
from sessions.events import Failed, finished
from sessions.session import Session

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: Files that blocks of commands speak of: a few prompts of each.
FILES = {
    f"{name}.jsonl": (ROOT / "commands/examples" / f"agreement-{source}.jsonl").read_text("utf-8").splitlines(True)[:4]
    for name, source in (("agreement", "discover"), ("held-out", "test"))
}


def blocks(language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(README) if kind == language]


def test_the_readme_has_blocks_to_test() -> None:
    assert blocks("wb") and blocks("python") and blocks("console")


@pytest.mark.parametrize("number", range(len(blocks("wb"))))
def test_command_blocks_run(number: int, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of commands runs in a session that has a model, a prompt and a circuit."""
    monkeypatch.chdir(tmp_path)
    for name, prompts in FILES.items():
        (tmp_path / name).write_text("".join(prompts), encoding="utf-8")
    for line in ("prompt What is the capital of Texas?", "seed The capital of Texas is", 'discover " Austin"'):
        assert not [event for event in run(session, line) if isinstance(event, Failed)]
    path = tmp_path / "block.wb"
    path.write_text("set max_tokens 4\n" + blocks("wb")[number], encoding="utf-8")
    values = dict.fromkeys(set(re.findall(r"\$\{(\w+)\}", path.read_text(encoding="utf-8"))), "smollm2")
    finished(script.play(session, path, values))


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_blocks_run(number: int, knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself, in a module of its own; that a fresh interpreter has what they import is said in test_cli."""
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[number], "README.md", "exec"), {"__name__": "__main__"})


def shown_commands() -> list[str]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ workbench ")]


@pytest.mark.parametrize("command", shown_commands())
def test_options_of_shown_commands_exist(command: str) -> None:
    """Shown invocations name real subcommands and options; the main one is run by `make demo`."""
    from workbench.cli import main as cli

    words = shlex.split(command.partition(" #")[0].partition(" >")[0].partition(" |")[0])[1:]
    group: Any = cli
    context = group.make_context("workbench", list(words), resilient_parsing=True)
    subcommand, rest = group, words
    if words and not words[0].startswith("--"):
        name, subcommand, rest = group.resolve_command(context, words)
        assert name in group.commands
    known = {option for param in subcommand.params for option in param.opts}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known
