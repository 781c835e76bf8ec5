"""Training where numbers are small, devices several and kernels in a hurry: what is counted stays what it is."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sessions.events import finished
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.training import learner
from sessions.training.findings import TrainingPlan
from sessions.training.learning import TrainedRound, learn
from sessions.training.projections import modules_of
from sessions.training.recruits import Absorbing
from sessions.training.samples import Lesson, Sample, lessons_of
from sessions.training.scaling import FIRST, LARGEST, STEADY, Scale
from tests.accelerator import placements
from tests.families import tiny, tiny_tokenizer

SAMPLES = (Sample(prompt="abc", reply="fed"), Sample(prompt="hij klm", reply="nop"))


def opened(family: str = "llama", dtype: torch.dtype = torch.float32) -> OpenModel:
    return adopt(tiny(family).to(dtype), tiny_tokenizer(), name=family)


def trained(found: OpenModel, **changed: object) -> TrainedRound:
    usual = {"modules": modules_of(found.anatomy), "rate": 0.01, "epochs": 2, "rank": 2}
    return finished(learn(found, lessons_of(found, SAMPLES), TrainingPlan(**{**usual, **changed})))  # type: ignore[arg-type]


def test_scores_that_were_taken_up_go_to_the_device_that_the_gradients_are_on() -> None:
    """The meta device stands for the other one: it refuses to be added to as any other does."""
    weight = nn.Parameter(torch.zeros(2, 3, device="meta"))
    weight.grad = torch.zeros(2, 3, device="meta")
    kept = {measure: {0: torch.ones(3)} for measure in ("gradient", "largest", "last", "activation")}
    absorbing = Absorbing(kept, {0: [weight]}, {0: torch.zeros(3, device="meta")})  # type: ignore[arg-type]
    absorbing.step()
    assert {row.device.type for by_layer in absorbing.scores.values() for row in by_layer.values()} == {"meta"}


def test_small_gradients_in_float16_are_those_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a loss so small, what flows back is below the smallest number of float16: without a scale it vanishes."""
    original = learner.losses_of
    monkeypatch.setattr(learner, "losses_of", lambda *given: 1e-7 * original(*given))
    exact = trained(opened(), rate=1e-6)
    scaled = trained(opened(dtype=torch.float16), rate=1e-6)
    monkeypatch.setattr(Scale, "of", lambda _: Scale())
    plain = trained(opened(dtype=torch.float16), rate=1e-6)

    def apart(found: TrainedRound, measure: str) -> float:
        rows = [(found.recruits.scores[measure][layer], row) for layer, row in exact.recruits.scores[measure].items()]  # type: ignore[index]
        return max(float((mine - row).norm() / row.norm()) for mine, row in rows)

    for measure in ("activation", "last"):
        assert apart(scaled, measure) < 0.05
    assert apart(plain, "activation") > 0.2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_is_learned_is_float32_whatever_the_model_is_in(dtype: torch.dtype) -> None:
    assert {weight.dtype for weight in trained(opened(dtype=dtype), epochs=1).adapter.values()} == {torch.float32}


def test_a_step_that_overflows_is_computed_again_and_no_sample_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scale, "of", lambda _: Scale(2.0**40, moves=True))
    states: list[Scale | None] = []
    found = opened(dtype=torch.float16)
    plan = TrainingPlan(modules=modules_of(found.anatomy), rate=0.01, epochs=2, rank=2)
    keep = lambda state: states.append(state.scale)  # noqa: E731
    round_ = finished(learn(found, lessons_of(found, SAMPLES), plan, keep=keep))
    assert not round_.stopped and len(round_.curve) == 4
    assert all(state is not None and state.value < 2.0**40 for state in states)
    assert all(math.isfinite(float(row.sum())) for rows in round_.recruits.scores.values() for row in rows.values())
    assert sum(round_.final) < sum(round_.initial)


def test_the_scale_halves_where_it_must_and_doubles_where_it_may() -> None:
    scale = Scale(FIRST, moves=True)
    assert scale.after_overflow() == Scale(FIRST / 2, moves=True)
    for _ in range(STEADY):
        scale = scale.after_step()
    assert scale == Scale(2 * FIRST, moves=True)
    assert Scale(LARGEST, STEADY - 1, moves=True).after_step().value == LARGEST
    assert Scale(1.0, moves=True).after_overflow() is None
    assert Scale().after_step() == Scale() and Scale().after_overflow() is None
    assert Scale.of(opened().model) == Scale() == Scale.of(opened(dtype=torch.bfloat16).model)


def test_a_loss_that_is_no_number_adds_nothing_to_what_was_counted() -> None:
    round_ = trained(opened(), rate=1e18, epochs=9)
    assert "not finite at step" in round_.stopped
    for rows in round_.recruits.scores.values():
        assert all(bool(row.isfinite().all()) for row in rows.values())


def test_training_takes_kernels_that_always_add_in_one_order_and_gives_them_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def look(found: OpenModel, lesson: Lesson) -> Tensor:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return original(found, lesson)

    original = learner.losses_of
    monkeypatch.setattr(learner, "losses_of", look)
    round_ = trained(opened())
    assert seen and all(seen) and round_.lacks == ""
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_without_such_a_kernel_is_named_and_the_round_is_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = trained(opened())

    def refuse(found: OpenModel, lesson: Lesson) -> Tensor:
        loss = original(found, lesson)
        if not torch.is_deterministic_algorithms_warn_only_enabled():
            raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation, but you set …")
        return loss

    original = learner.losses_of
    monkeypatch.setattr(learner, "losses_of", refuse)
    round_ = trained(opened())
    assert round_.lacks == "cumsum_cuda_kernel"
    assert round_.curve == whole.curve
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize("changed", [{}, {"modules": ("down_proj",)}, {"modules": (), "neurons": (Unit(2, 3),)}])
def test_what_is_counted_of_neurons_is_the_same_with_and_without_checkpointing(changed: dict[str, object]) -> None:
    """Of all layers, whichever of them an adapter is on."""
    found = opened()
    plain, again = (trained(found, checkpointing=each, **changed) for each in (False, True))
    for measure, rows in plain.recruits.scores.items():
        assert rows.keys() == again.recruits.scores[measure].keys()
        for layer, row in rows.items():
            torch.testing.assert_close(again.recruits.scores[measure][layer], row, rtol=1e-4, atol=1e-7)
    assert set(plain.recruits.scores["activation"]) == {0, 1, 2}


@pytest.mark.parametrize("family", ["llama", "qwen3_moe", "qwen2_moe", "mixtral", "deepseek_v3", "gpt2"])
def test_a_round_adapts_the_projections_that_it_names_in_every_family_and_no_parameter_of_experts(family: str) -> None:
    found = opened(family)
    wanted = {
        name
        for name, module in found.model.named_modules()
        if name.rpartition(".")[2] in modules_of(found.anatomy) and hasattr(module, "weight")
    }
    round_ = trained(found, epochs=1)
    adapted = {name.removeprefix("base_model.model.").rpartition(".lora_")[0] for name in round_.adapter}
    assert adapted == wanted == set(round_.config["target_modules"])
    assert "target_parameters" not in round_.config


@pytest.mark.parametrize("placement", [placements.ONE, placements.TWO], ids=["one device", "two devices"])
def test_a_step_waits_for_the_device_once_however_many_weights_and_samples(
    placement: placements.Placement, tmp_path: Path
) -> None:
    tiny("llama", num_hidden_layers=4).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    waits: list[Counter[tuple[str, str]]] = []
    with placements.machine(placement) as meter:
        assert meter is not None
        found = placements.opened(tmp_path, placement)
        for epochs in (1, 4):
            meter.clear()
            steps = trained(found, epochs=epochs, batch=2).curve
            waits.append(Counter(meter.waits))
    more = waits[1] - waits[0]
    assert len(steps) == 4 and more.total() <= 3, more


def test_a_gradient_that_is_no_number_is_seen_in_any_place() -> None:
    for value in (math.inf, -math.inf, math.nan):
        gradients = [torch.full((3, 5), 3e38), torch.zeros(4)]
        assert all(learner._finite(gradients, Absorbing()))
        gradients[1][2] = value
        assert not any(learner._finite(gradients, Absorbing()))
