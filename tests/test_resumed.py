"""Long work that was stopped goes on wherever the model lies, and comes to what it comes to on the CPU in one go."""

from __future__ import annotations

from contextlib import chdir, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from commands import run
from sessions.events import Failed, Progress, Result
from sessions.session import Session
from tests.accelerator import placements
from tests.accelerator.comparing import difference
from tests.accelerator.placements import Placement
from tests.families import tiny, tiny_tokenizer

#: Each with the unit of its progress, and after how much of it it is stopped.
LINES = {
    "train-round samples.jsonl --epochs 2 --lr 0.01 --rank 2 --as one --checkpointing": ("steps", 3),
    "train-round samples.jsonl --epochs 2 --lr 0.01 --neurons L1/N3,L2/N5 --as one": ("steps", 1),
    "crab samples.jsonl --epochs 1 --lr 0.01 --rank 2 --rounds 2 --top 3 --as one": ("steps", 2),
    "atlas build one --corpus texts.txt --batch 1 --length 16": ("documents", 2),
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model and what the lines read."""
    folder = tmp_path_factory.mktemp("resumed")
    tiny("llama").save_pretrained(folder / "tiny")
    tiny_tokenizer().save_pretrained(folder / "tiny")
    lines = '{"prompt": "abc", "reply": "fed"}\n{"prompt": "hij klm", "reply": "nop"}\n'
    (folder / "samples.jsonl").write_text(lines)
    (folder / "texts.txt").write_text("the cat is here\n\na dog ran to it\n\nno one at ten\n\nit is so\n")
    return folder


def outcome(ground: Path, home: Path, placement: Placement, line: str, stopped: bool) -> Any:
    """What a line says of the model placed so; `stopped` on the way, and typed again."""
    unit, after = LINES[line]
    with chdir(ground), placements.machine(placement), closing(Session(home)) as session:
        session.use_model(placements.opened(ground / "tiny", placement, home / "offloaded"))
        list(run(session, "prompt the cat"))
        if stopped:
            steps = run(session, line)
            met = any(
                isinstance(event, Progress) and event.unit == unit and event.done >= after for event in steps
            )  # and no further
            steps.close()
            assert met
        events = list(run(session, line))
    assert not [event for event in events if isinstance(event, Failed)]
    return msgspec.to_builtins(next(event.value for event in events if isinstance(event, Result)))


@pytest.mark.parametrize("line", LINES)
def test_what_was_stopped_on_devices_goes_on_to_what_it_is_on_the_cpu(ground: Path, tmp_path: Path, line: str) -> None:
    whole = outcome(ground, tmp_path / "cpu", placements.CPU, line, stopped=False)
    again = outcome(ground, tmp_path / "two", placements.TWO, line, stopped=True)
    assert not difference(whole, again)
