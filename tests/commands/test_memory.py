"""A command leaves nothing in memory: what it needed is free when it is done, and when there is not enough of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from sessions.circuits import rules
from sessions.session import Session
from tests import memory
from tests.commands.driving import failure, result, unharmed

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


# ---- too little of it

LACKS = {
    "the CPU's": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    "a device's": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "Python's": MemoryError,
}


@contextmanager
def failing_at(session: Session, call: int, error: Callable[[], BaseException]) -> Iterator[None]:
    """In the block, calls of layers, forwards, raise an error that is held by itself, from the so-and-so-many-th on."""
    calls = 0

    def hook(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        nonlocal calls
        calls += 1
        if calls >= call:
            raised = error()
            held = [given[0] * 2, raised]  # the frame holds the error, and the error the frame
            raise raised
            del held

    layers = session.opened().anatomy.layers
    handles = [layer.block.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("lack", LACKS)
@pytest.mark.parametrize("call", [1, 3, 5])
@pytest.mark.parametrize("line", ["discover a --keep-universal", "edges top5", "verify top5", "generate"])
def test_where_memory_ends_nothing_of_the_command_stays_and_the_next_one_works(
    little: Session, line: str, call: int, lack: str
) -> None:
    before = memory.tensors()
    with unharmed(little):
        with failing_at(little, call, LACKS[lack]):
            assert failure(little, line).error == "memory"
        assert memory.tensors() <= before


def test_memory_that_ends_on_the_way_back_leaves_nothing_either(
    little: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(*_: object) -> None:
        raise RuntimeError("can't allocate memory")

    before = memory.tensors()
    with unharmed(little):
        with monkeypatch.context() as patched:
            patched.setattr(rules._Half, "backward", ends)
            assert failure(little, "discover a --keep-universal").error == "memory"
        assert memory.tensors() <= before


@pytest.mark.skipif(sys.platform != "linux", reason="where the size of a process is in /proc")
def test_where_memory_ends_the_process_is_as_large_as_before(little: Session) -> None:
    pins = []

    def lack() -> BaseException:
        error = RuntimeError("can't allocate memory")
        error.held = [torch.ones(2500) for _ in range(20_000)]  # type: ignore[attr-defined] # 200 MB
        pins.append(torch.ones(2500))  # behind them: without being asked, the allocator returns nothing before this
        return error

    before = memory.resident()
    with failing_at(little, 2, lack):
        assert failure(little, "generate").error == "memory"
    assert memory.resident() - before < 50_000_000


def test_a_sweep_that_does_not_fit_halves_its_batch_and_finishes(little: Session) -> None:
    line = "sweep top5 0 0.5 2 3 4 5"
    whole = result(little, line)
    most = []

    def hook(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        most.append(len(given[0]))
        if len(given[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = little.opened().anatomy.layers[1].block.register_forward_pre_hook(hook)
    try:
        parts = result(little, line)
    finally:
        handle.remove()
    assert [(arm.multiplier, arm.text) for arm in parts.arms] == [(arm.multiplier, arm.text) for arm in whole.arms]
    assert any("memory" in note and "1 at once" in note for note in parts.notes)
    assert most[:2] == [7, 3]


def test_a_sweep_of_which_no_single_text_fits_fails_and_names_the_option(little: Session) -> None:
    with unharmed(little), failing_always(little):
        failed = failure(little, "sweep top5 0 2")
        assert failed.error == "memory" and "--batch" in failed.hint
        assert "--batch" not in failure(little, "top").hint


@contextmanager
def failing_always(session: Session) -> Iterator[None]:
    def hook(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    handle = session.opened().anatomy.layers[0].block.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()
