"""Verification: the effect of each neuron alone is the one that switching it off has, computed one by one."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sessions.cancel import Cancel
from sessions.circuits.verification import LARGEST_BATCH, _cut, affordable, verify
from sessions.errors import Cancelled, ModelError, UsageError
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.hooks import after, count_hooks
from sessions.model.info import Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.target import Target
from sessions.model.units import Unit
from tests.families import DENSE, MOE, tiny, tiny_tokenizer
from tests.reference import AUSTIN

IDS = (1, 9, 27, 17, 51, 5, 33, 8, 20, 41, 11, 30, 22, 45, 16, 3, 60, 37, 29, 12)  # longer than a sliding window
DIFFERENCE = Target(tokens=(Token(7, "a"),), counterfactual=Token(19, "b"))
LOGIT = Target(tokens=(Token(7, "a"),))
SEQUENCE = Target(tokens=(Token(41, "a"), Token(29, "b"), Token(12, "c")), sequence=True)


def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def value(opened: OpenModel, target: Target, treatment: Intervention) -> float:
    """The target's value under a treatment, over the whole prompt and nothing else."""
    with torch.inference_mode(), intervening(opened.anatomy, [treatment]):
        logits = opened.model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0].float()
    if target.sequence:
        last = logits[-len(target.tokens) :].log_softmax(-1)
        return sum(float(row[token.id]) for row, token in zip(last, target.tokens, strict=True))
    other = 0.0 if target.counterfactual is None else float(logits[-1, target.counterfactual.id])
    return float(logits[-1, target.tokens[0].id]) - other


def some(opened: OpenModel) -> list[Unit]:
    """Neurons of every layer, early and late, at a position and at all of them."""
    widths = opened.anatomy.widths
    places: list[int | None] = [0, 3, 4, 11, 18, 19, 19, 19, None]
    return [
        Unit(layer, (7 * number + layer) % widths[layer], position)
        for layer in range(len(widths))
        for number, position in enumerate(places)
    ]


#: What a target reads comes behind the last layer; where a neuron is, in each family, is a matter of one target.
ASKED = [
    *(pytest.param(family, DIFFERENCE, id=f"{family}-difference") for family in (*DENSE, *MOE)),
    *(pytest.param(family, LOGIT, id=f"{family}-logit") for family in ("llama", "gemma3n", "mixtral")),
    *(pytest.param(family, SEQUENCE, id=f"{family}-sequence") for family in ("llama", "gemma3n", "gpt_neo", "mixtral")),
]


@pytest.mark.parametrize(("family", "target"), ASKED)
def test_effects_are_those_of_switching_off_one_by_one(family: str, target: Target) -> None:
    model = opened(family)
    neurons = some(model)
    found = finished(verify(model, IDS, neurons, target))
    clean = value(model, target, Intervention((), 1.0))
    assert found.value == pytest.approx(clean, abs=1e-4)
    for neuron, effect in zip(neurons, found.effects, strict=True):
        assert effect == pytest.approx(clean - value(model, target, Intervention((neuron,), 0.0)), abs=1e-4), neuron
    assert count_hooks(model.model) == 0


@pytest.mark.parametrize("batch", [1, 7, 40, 100_000])
def test_the_size_of_a_batch_changes_nothing(batch: int) -> None:
    model = opened("qwen3")
    neurons = some(model)
    once = finished(verify(model, IDS, neurons, DIFFERENCE))
    again = finished(verify(model, IDS, neurons, DIFFERENCE, batch=batch))
    assert again.effects == pytest.approx(once.effects, abs=1e-5)


def test_a_neuron_can_be_held_at_a_value() -> None:
    model = opened("llama")
    neurons = some(model)
    held = [0.1 * number - 1 for number in range(len(neurons))]
    found = finished(verify(model, IDS, neurons, DIFFERENCE, values=held))
    clean = value(model, DIFFERENCE, Intervention((), 1.0))
    for neuron, constant, effect in zip(neurons, held, found.effects, strict=True):
        exact = clean - value(model, DIFFERENCE, Intervention((neuron,), 0.0, (constant,)))
        assert effect == pytest.approx(exact, abs=1e-4), neuron


def test_effects_of_the_reference_circuit(smollm2: OpenModel) -> None:
    """A sample of the 200 neurons that the reference implementation found, each switched off by itself."""
    target = Target(tokens=(Token(AUSTIN.target_id, ""),), counterfactual=Token(AUSTIN.counterfactual_id, ""))
    neurons = [Unit(layer, index, position) for layer, position, index, *_ in AUSTIN.top[:200]]
    found = finished(verify(smollm2, AUSTIN.ids, neurons, target))
    assert found.value == pytest.approx(AUSTIN.logit_diff, abs=1e-3)
    for which in range(0, 200, 40):
        with torch.inference_mode(), intervening(smollm2.anatomy, [Intervention((neurons[which],), 0.0)]):
            logits = smollm2.model(input_ids=torch.tensor([AUSTIN.ids]), use_cache=False).logits[0, -1]
        changed = float(logits[AUSTIN.target_id] - logits[AUSTIN.counterfactual_id])
        assert found.effects[which] == pytest.approx(found.value - changed, abs=1e-4)


def test_a_position_can_be_counted_from_the_end() -> None:
    model = opened("llama")
    ends = [Unit(1, 5, -1), Unit(2, 7, -4)]
    found = finished(verify(model, IDS, ends, DIFFERENCE))
    same = finished(verify(model, IDS, [neuron.counted(len(IDS)) for neuron in ends], DIFFERENCE))
    assert found.effects == same.effects and any(found.effects)


def test_the_copies_of_the_prefix_are_bounded_as_well() -> None:
    """At the last position a row is one token, and the keys and values of all others: these count too."""
    model = opened("llama")
    seen: list[int] = []

    def count(_: Any, output: Any) -> Any:
        seen.append(len(output))
        return output

    neurons = [Unit(2, index, len(IDS) - 1) for index in range(48)]
    with after(model.anatomy.final_norm, count):
        finished(verify(model, IDS, neurons, DIFFERENCE, batch=20))
    assert max(seen) == 8 * 20 // len(IDS) < 20


def test_a_batch_is_as_large_as_a_device_has_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened("llama")
    assert affordable(model) == LARGEST_BATCH
    weight = SimpleNamespace(device=torch.device("cuda"), is_meta=False)
    embedding = SimpleNamespace(parameters=lambda: iter([weight]))
    where = SimpleNamespace(get_input_embeddings=lambda: embedding, dtype=torch.float32)
    there = OpenModel(model=where, tokenizer=None, anatomy=model.anatomy, info=None)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 0)
    sizes = []
    for free in (1, 5_000_000, 20_000_000, 2**40):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 2**40))
        sizes.append(affordable(there))
    assert sizes[0] == 1 and sizes == sorted(sizes) and sizes[-1] == LARGEST_BATCH
    assert 1 < sizes[1] < sizes[2] < LARGEST_BATCH


def test_a_cancelled_verification_leaves_no_hook() -> None:
    model = opened("llama")
    cancel = Cancel()
    steps = verify(model, IDS, some(model), DIFFERENCE, cancel=cancel)
    next(steps)
    cancel.request()
    with pytest.raises(Cancelled):
        finished(steps)
    assert count_hooks(model.model) == 0


def test_a_neuron_that_is_not_there_is_named() -> None:
    model = opened("llama")
    with pytest.raises(UsageError, match="no layer 9"):
        finished(verify(model, IDS, [Unit(1, 2, 3), Unit(9, 0, 3)], DIFFERENCE))


def test_what_is_not_a_number_is_not_shown_as_one() -> None:
    model = opened("llama")
    model.model.lm_head.weight.data[7] = float("nan")
    said = "the target's value is not finite: the head is the first to compute no number, at token 19"
    with pytest.raises(ModelError, match=said):
        finished(verify(model, IDS, some(model), DIFFERENCE))


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 20))
def test_cutting_keeps_every_neuron_once_and_in_order(keys: list[int], step: int) -> None:
    pieces = _cut(keys, lambda first, count: step + count * (10 - first))
    assert sorted(which for piece in pieces for which in piece) == list(range(len(keys)))
    ranges = [[keys[which] for which in piece] for piece in pieces]
    assert all(max(one) < min(other) for one, other in itertools.pairwise(ranges))
    cost = sum(step + len(piece) * (10 - min(piece)) for piece in ranges)
    assert cost <= step + len(keys) * (10 - min(keys, default=0)) or not keys
