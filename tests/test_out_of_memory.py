"""A device with too little memory for a batch computes it in smaller ones; with too little for anything, the line ends
with one plain error, and the session goes on."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from commands import run
from sessions.errors import ModelError
from sessions.events import Event, Failed, Result
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from tests.accelerator import pretended
from tests.accelerator.comparing import difference
from tests.accelerator.meter import Meter
from tests.families import tiny, tiny_tokenizer

DEVICE = "cuda:0"
#: What a line may take, as a share of what it takes where there is room for all.
SHARE = 0.6
PROMPTS = "discover --prompts prompts.jsonl --top 20 --keep-universal --no-verify --batch 2000"
#: Lines, each after those that it needs.
LINES = {
    "discover --prompts": ((), PROMPTS),
    "verify": ((PROMPTS,), "verify --batch 2000"),
    "faithfulness": ((PROMPTS,), "faithfulness --sizes 5,10 --controls 2 --reference zero --batch 2000"),
    "means": ((), "means build facts --corpus corpus.txt --batch 2000"),
    "contrast": ((), "contrast up.txt down.txt --top 10 --batch 2000"),
    "vector": ((), "vector joy up.txt down.txt"),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [f"{letter} cat sat on the mat and it is {letter} hat " * 2 for letter in "abcdefgh"]
    records = [{"prompt": text, "target": " a", "counterfactual": " b"} for text in texts]
    Path("prompts.jsonl").write_text("\n".join(map(json.dumps, records)), "utf-8")
    Path("up.txt").write_text("\n".join(texts), "utf-8")
    Path("down.txt").write_text("\n".join(text.upper() for text in texts), "utf-8")
    Path("corpus.txt").write_text("\n\n".join(texts), "utf-8")


@contextmanager
def device() -> Iterator[tuple[Meter, OpenModel]]:
    with pretended(1) as meter:
        model: Any = tiny("llama", num_hidden_layers=4).to(DEVICE)
        yield meter, adopt(model, tiny_tokenizer(), name="tiny", fingerprint="tiny")


def outcome(session: Session, line: str) -> Result | Failed:
    events: list[Event] = list(run(session, line))
    return next(event for event in reversed(events) if isinstance(event, Result | Failed))


def after(opened: OpenModel, home: Path, before: tuple[str, ...]) -> Session:
    session = Session(home)
    session.use_model(opened)
    for line in before:
        assert isinstance(outcome(session, line), Result)
    return session


@pytest.mark.parametrize("name", LINES)
def test_a_batch_that_does_not_fit_is_halved_and_the_result_is_the_same(name: str, tmp_path: Path) -> None:
    before, line = LINES[name]
    with device() as (meter, opened):
        held = torch.device(DEVICE)
        with closing(after(opened, tmp_path / "ample", before)) as session:
            gc.collect()
            meter.clear()
            base = meter.held[held]
            ample = outcome(session, line)
            peak = meter.peak[held]
        with closing(after(opened, tmp_path / "scarce", before)) as session:
            gc.collect()
            meter.capacity = base + int(SHARE * (peak - base))
            scarce = outcome(session, line)
    assert isinstance(ample, Result) and isinstance(scarce, Result), scarce
    assert not difference(msgspec.to_builtins(ample.value), msgspec.to_builtins(scarce.value))


@pytest.mark.parametrize("line", ["discover --keep-universal", PROMPTS, "vector joy up.txt down.txt"])
def test_what_does_not_fit_at_all_ends_with_one_plain_error(line: str, tmp_path: Path) -> None:
    with device() as (meter, opened), closing(after(opened, tmp_path / "home", ("prompt the cat sat",))) as session:
        gc.collect()
        ample, meter.capacity = meter.capacity, meter.held[torch.device(DEVICE)] + 4000
        failed = outcome(session, line)
        assert isinstance(failed, Failed) and failed.error == "memory"
        assert "Tried to allocate" not in failed.message and "--dtype bfloat16" in failed.hint
        assert "--device-map auto" in failed.hint
        meter.capacity = ample
        del failed
        gc.collect()
        assert isinstance(outcome(session, line), Result)


def test_a_model_that_is_in_the_way_waits_on_the_host_and_comes_back_if_the_new_one_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It leaves 1.2 GiB free, which the device does not have.
    monkeypatch.setattr("transformers.modeling_utils.caching_allocator_warmup", lambda *_, **__: None)
    folder = tmp_path / "broken"
    tiny("llama", num_hidden_layers=4).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    with device() as (meter, opened), closing(after(opened, tmp_path / "home", ())) as session:
        size = meter.held[torch.device(DEVICE)]
        meter.capacity = size + size // 2
        assert isinstance(outcome(session, f"model {folder} --device cuda"), Result)
        new = session.opened()
        assert new is not opened and str(new.device) == DEVICE and str(opened.device) == "cpu"
        assert meter.peak[torch.device(DEVICE)] <= meter.capacity
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4000])
        failed = outcome(session, f"model {folder} --device cuda --again")
        assert isinstance(failed, Failed) and failed.error == ModelError.kind
        assert session.opened() is new and str(new.device) == DEVICE
        assert isinstance(outcome(session, "prompt the cat sat"), Result)
        assert isinstance(outcome(session, "top"), Result)
