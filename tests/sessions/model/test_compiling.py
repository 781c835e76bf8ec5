"""A compiled step says what the model itself says, whatever is changed in it; where it cannot, the model does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.errors import Cancelled, ModelError
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention, Region, TokenScope
from sessions.interventions.suppressing import Suppression
from sessions.interventions.token_scopes import Extents
from sessions.model import compiling
from sessions.model.compiling import CompiledDecoding, compile_decoding, compiled_decoding
from sessions.model.generation import Decoding, GeneratedRow, generate
from sessions.model.hooks import after, count_hooks, watched
from sessions.model.opening import OpenModel, adopt
from sessions.model.texts import text_of
from sessions.model.units import Unit
from tests.families import tiny, tiny_tokenizer

PROMPTS = ((1, 9, 27, 17, 51), (1, 12, 30))
NEURONS = tuple(Unit(layer, index) for layer in range(3) for index in range(0, 40, 3))
HEADS = (Unit(0, 1, kind="head"), Unit(2, 3, kind="head"))


def opened(family: str = "llama", backend: str = "eager") -> OpenModel:
    found = adopt(tiny(family), tiny_tokenizer(), name=family)
    assert compile_decoding(found.model, backend) == ""
    return found


def compiled(found: OpenModel) -> CompiledDecoding:
    decoding = compiled_decoding(found.model)
    assert decoding is not None
    return decoding


@pytest.fixture(scope="module")
def llama() -> OpenModel:
    return opened()


@contextmanager
def plainly(found: OpenModel) -> Iterator[None]:
    kept = compiling._COMPILED.pop(found.model)
    try:
        yield
    finally:
        compiling._COMPILED[found.model] = kept


def written(found: OpenModel, prompts: Any = PROMPTS, **how: Any) -> tuple[list[GeneratedRow], Tensor]:
    """The rows, and the logits of every step, `[steps, rows, vocab]`."""
    steps = generate(found.model, found.tokenizer, prompts, Decoding(**{"max_tokens": 10, **how}))
    logits: list[Tensor] = []
    while True:
        try:
            logits.append(next(steps).logits.clone())
        except StopIteration as stop:
            return stop.value, torch.stack(logits)


def held(units: tuple[Unit, ...], multiplier: float = 0.0, region: Region = "all", **more: Any) -> Intervention:
    marker = "?!" if region == "answer" else ""
    return Intervention(units, multiplier, where=TokenScope(region, marker=marker), **more)


#: What is changed in each of two rows.
CHANGES: dict[str, tuple[tuple[Intervention, ...], ...]] = {
    "nothing": ((), ()),
    "neurons of one row": ((held(NEURONS),), ()),
    "constants": ((held(NEURONS, constants=(0.5,) * len(NEURONS)),), (held(NEURONS[:3], 2.0),)),
    "heads and neurons": ((held(HEADS),), (held(HEADS), held(NEURONS, 3.0))),
    "what is generated": ((held(NEURONS, 2.0, "generated"),), (held(NEURONS, 0.0, "prompt"),)),
    "a thought": ((held(NEURONS, 2.0, "thought"),), (held(NEURONS, 0.0, "answer"),)),
    "a position": ((held((Unit(1, 4, position=8), Unit(1, 5, position=2))),), (held((Unit(0, 4, position=5),), 9.0),)),
}


@contextmanager
def changed(found: OpenModel, rows: tuple[tuple[Intervention, ...], ...]) -> Iterator[Any]:
    lengths = tuple(map(len, PROMPTS))
    extents = Extents(lengths, lengths, partial(text_of, found.tokenizer))
    with intervening(found.anatomy, rows, extents) as following:
        yield following


@pytest.mark.parametrize("change", CHANGES)
def test_texts_are_the_same_and_logits_within_rounding(llama: OpenModel, change: str) -> None:
    before = compiled(llama).steps
    with changed(llama, CHANGES[change]) as followed:
        rows, logits = written(llama)
    assert compiled(llama).steps == before + 9 * 2 and not compiled(llama).remark
    with plainly(llama), changed(llama, CHANGES[change]) as following:
        plain, expected = written(llama)
    assert rows == plain and (logits - expected).abs().max() < 1e-4
    for row, treatments in enumerate(CHANGES[change]):
        assert followed.counted(row, treatments, 12) == following.counted(row, treatments, 12)


@pytest.mark.parametrize("how", [{"sample": True, "temperature": 1.2}, {"guard": True, "no_repeat_ngram": 2}])
def test_tokens_are_chosen_as_without_it(llama: OpenModel, how: dict[str, Any]) -> None:
    rows, _ = written(llama, **how)
    with plainly(llama):
        assert rows == written(llama, **how)[0]


def test_suppressed_neurons_stay_at_zero_also_beside_an_intervention(llama: OpenModel) -> None:
    with Suppression(llama.anatomy, NEURONS).held(), changed(llama, CHANGES["constants"]):
        rows, logits = written(llama)
        with plainly(llama):
            plain, expected = written(llama)
    assert rows == plain and (logits - expected).abs().max() < 1e-4


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def test_texts_grow_and_interventions_change_without_another_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "STEP", 8)
    found = opened()
    torch._dynamo.utils.counters.clear()
    for tokens in (12, 40):  # caches of 8, 16, 32 and 64 tokens
        rows, _ = written(found, PROMPTS[:1], max_tokens=tokens)
        made = graphs()
    assert made <= 2  # of one size, and of any
    with plainly(found):
        assert rows == written(found, PROMPTS[:1], max_tokens=40)[0]
    made = 0
    for count in (1, 2, 5):
        with intervening(found.anatomy, [held(NEURONS[:count], 1.0 + count)]):
            written(found, PROMPTS[:1])
        made = made or graphs()
    assert graphs() == made


def test_an_edit_in_place_is_part_of_the_next_text(llama: OpenModel) -> None:
    weight = llama.anatomy.layers[1].sites[0].module.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.mul_(3)
    try:
        _, logits = written(llama)
        with plainly(llama):
            assert (logits - written(llama)[1]).abs().max() < 1e-4
    finally:
        with torch.no_grad():
            weight.copy_(kept)


@pytest.mark.parametrize("family", ["gemma3", "gpt_oss"])
def test_a_family_without_a_static_step_is_named(family: str) -> None:
    model = tiny(family)
    assert str(model.config.model_type) in compile_decoding(model, "eager")
    assert compiled_decoding(model) is None


def test_what_only_python_can_do_is_done_by_the_model_and_said(llama: OpenModel) -> None:
    block = llama.anatomy.layers[1].block
    with plainly(llama), after(block, lambda _, output: output * 1.5):
        plain, _ = written(llama)
    before = compiled(llama).steps
    with after(block, lambda _, output: output * 1.5):
        assert written(llama)[0] == plain and compiled(llama).steps == before
        assert "layers.1" in compiled(llama).remark
        compiled(llama).remark = ""
        written(llama)
        assert not compiled(llama).remark  # once


def test_a_step_that_cannot_be_compiled_leaves_the_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened()

    def fails(*_: Any) -> Any:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(compiling.torch, "compile", lambda *_, **__: fails)
    rows, _ = written(found)
    with plainly(found):
        assert rows == written(found)[0]
    assert "no such instruction" in compiled(found).remark


def test_it_is_cancelled_between_two_tokens_and_leaves_no_hook(llama: OpenModel) -> None:
    cancel = Cancel()
    with watched(llama.anatomy, cancel), pytest.raises(Cancelled):
        for step in generate(llama.model, llama.tokenizer, PROMPTS, Decoding(max_tokens=10)):
            if step.number == 4:
                cancel.request()
    assert count_hooks(llama.model) == 0


def test_a_machine_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder, exc

    def none() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(ModelError, match=r"C\+\+ compiler"):
        compile_decoding(tiny("llama"))
