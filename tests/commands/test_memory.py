"""A command leaves nothing in memory: what it needed is free when it is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions.session import Session
from tests import memory
from tests.commands.driving import result

PROMPTS = '{"prompt": "the cat", "target": " a"}\n{"prompt": "the dog is", "target": " b"}\n'

#: What holds a graph of the whole model for a moment, and some that are built on it.
LINES = (
    "discover a --top 10 --keep-universal",
    "discover a --method ig --top 10 --keep-universal",
    "discover a --attention gradient --top 10 --keep-universal",
    "discover a --method exact --layers 1 --at -1 --top 5 --keep-universal",
    "discover a --reference mean --method atp --top 10 --keep-universal",
    "discover --prompts few.jsonl --top 10 --keep-universal",
    "edges top5",
    "neuron top1",
    "verify top5",
    "faithfulness --sizes 5 --controls 1",
    "contrast up.txt down.txt --top 5",
    "vector joy up.txt down.txt --force",
    "ablate top5 --mean",
    "sweep top5 0 2",
    "top 3",
    "train-round samples.jsonl --epochs 1 --as lesson --top 5 --force",
)


@pytest.fixture
def prepared(little: Session) -> Session:
    """The session, in a folder with prompts and lessons."""
    Path("few.jsonl").write_text(PROMPTS)
    Path("up.txt").write_text("the sun\na good day\n")
    Path("down.txt").write_text("the rain\na bad day\n")
    Path("samples.jsonl").write_text('{"prompt": "the cat", "reply": " is in"}\n')
    return little


@pytest.mark.parametrize("line", LINES)
def test_no_tensor_of_a_command_outlives_it(prepared: Session, line: str) -> None:
    for _ in range(2):
        result(prepared, line)
    before = memory.tensors()
    for _ in range(3):
        result(prepared, line)
    assert memory.tensors() <= before


@pytest.mark.skipif(memory.allocated() is None, reason="the allocator does not say what it has given away")
@pytest.mark.parametrize("line", ["discover a --top 10 --keep-universal", "edges top5"])
def test_after_fifty_runs_as_much_is_allocated_as_after_two(prepared: Session, line: str) -> None:
    for _ in range(2):
        result(prepared, line)
    before = memory.allocated() or 0
    for _ in range(48):
        result(prepared, line)
    assert (memory.allocated() or 0) - before < 2**20
