"""A round of training: what is held at zero learns nothing, the same seed gives the same round, and a killed one goes
on as if it had never stopped."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from safetensors import safe_open
from torch import nn

from sessions.cancel import Cancel
from sessions.errors import ArtifactError, Cancelled, UsageError
from sessions.events import Progress, collected, finished
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.store import Store
from sessions.texts.sample_files import Sample
from sessions.training.findings import TrainingPlan
from sessions.training.learner import TrainingState, adapted
from sessions.training.learning import TrainedRound, learn
from sessions.training.losses import loss_of
from sessions.training.projections import check_modules, modules_of
from sessions.training.recruits import Recruits
from sessions.training.round import Rounds
from sessions.training.samples import lessons_of
from sessions.training.training import RoundRequest, drawn_like, train
from sessions.training.unfinished import BegunRound, Unfinished, data_of
from tests.families import tiny, tiny_tokenizer

SAMPLES = (
    Sample(prompt="abc", reply="fed", parts={"conclusions": ("ed",)}),
    Sample(prompt="hij klm", reply="nop"),
    Sample(prompt="q", reply="rst uv"),
)
HELD = (Unit(0, 1), Unit(1, 5), Unit(2, 40), Unit(2, 3))


def opened(family: str = "llama") -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def plan(found: OpenModel, **changed: object) -> TrainingPlan:
    usual = {"modules": modules_of(found.anatomy), "rate": 0.01, "epochs": 2, "rank": 4}
    return TrainingPlan(**{**usual, **changed})  # type: ignore[arg-type]


def fingerprint(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        digest.update(f"{name} {type(module).__name__}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def same(one: TrainedRound, two: TrainedRound) -> bool:
    scores = all(
        torch.equal(row, two.recruits.scores[measure][layer])
        for measure, by_layer in one.recruits.scores.items()
        for layer, row in by_layer.items()
    )
    weights = all(torch.equal(weight, two.adapter[name]) for name, weight in one.adapter.items())
    return scores and weights and one.adapter.keys() == two.adapter.keys() and one.curve == two.curve


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "gemma3", "gemma3n", "olmo2"])
def test_a_round_learns_and_leaves_the_model_as_it_was(family: str) -> None:
    found = opened(family)
    before, hooks = fingerprint(found.model), count_hooks(found.model)
    round_ = finished(learn(found, lessons_of(found, SAMPLES), plan(found, epochs=6)))
    assert sum(round_.final) < sum(round_.initial)
    assert fingerprint(found.model) == before
    assert count_hooks(found.model) == hooks
    assert not any(parameter.requires_grad for parameter in found.model.parameters())
    assert not any(module.training for module in found.model.modules())


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "gemma3"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_is_held_at_zero_absorbs_exactly_nothing_and_the_rest_something(family: str, checkpointing: bool) -> None:
    found = opened(family)
    round_ = finished(learn(found, lessons_of(found, SAMPLES), plan(found, checkpointing=checkpointing), HELD))
    assert set(round_.recruits.scores) == {"gradient", "largest", "last", "activation"}
    for by_layer in round_.recruits.scores.values():
        assert all(by_layer[neuron.layer][neuron.index] == 0 for neuron in HELD)
        assert all(float(row.sum()) > 0 for row in by_layer.values())
    named = {neuron.site for neuron in round_.recruits.strongest(1000)}
    assert not named & {neuron.site for neuron in HELD}


HEADS = (Unit(0, 1, kind="head"), Unit(2, 3, kind="head"))


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "gemma4"])
def test_heads_absorb_the_gradient_of_their_slice_and_held_ones_nothing(family: str) -> None:
    found = opened(family)
    round_ = finished(learn(found, lessons_of(found, SAMPLES), plan(found, unit="head", epochs=1), HEADS))
    assert round_.recruits.kind == "head"
    assert set(round_.recruits.scores) == {
        "gradient",
        "largest",
        "last",
        "activation",
    }
    for by_layer in round_.recruits.scores.values():
        assert {len(row) for row in by_layer.values()} == {4}
        assert all(by_layer[unit.layer][unit.index] == 0 for unit in HEADS)
        assert all(float(row.sum()) > 0 for row in by_layer.values())
    strongest = round_.recruits.strongest(100)
    assert len(strongest) == 3 * 4 - len(HEADS) and {unit.kind for unit in strongest} == {"head"}
    again = Recruits.unpacked(round_.recruits.packed(), "it")
    assert (again.kind, again.suppressed, again.strongest(5)) == ("head", HEADS, round_.recruits.strongest(5))


def test_a_head_absorbs_what_the_columns_of_its_slice_do() -> None:
    """The norm over the columns of the output projection's adapter that read it, as neurons have theirs."""
    found, lessons = opened(), lessons_of(opened(), SAMPLES[:1])
    with adapted(found, plan(found, unit="head", epochs=1)) as learner:
        state = TrainingState()
        with learner.running((), state.absorbing, None):
            learner.gradients(lessons, state)
            for layer, by_head in state.absorbing.scores["last"].items():
                grad = learner.anatomy.heads_of(layer).output.lora_A["default"].weight.grad  # type: ignore[union-attr]
                expected = [grad[:, 8 * head : 8 * head + 8].norm() for head in range(4)]
                torch.testing.assert_close(by_head, torch.stack(expected))


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_experts_absorb_what_flows_to_their_neurons(family: str) -> None:
    found = opened(family)
    held = (Unit(1, 2, kind="expert"),)
    round_ = finished(learn(found, lessons_of(found, SAMPLES), plan(found, unit="expert", epochs=1), held))
    assert set(round_.recruits.scores) == {"activation"}
    rows = round_.recruits.scores["activation"]
    assert {len(row) for row in rows.values()} == {4} and rows[1][2] == 0
    assert {unit.kind for unit in round_.recruits.strongest(3)} == {"expert"}
    assert [drawn.kind for drawn in drawn_like(found.anatomy, held, 1)] == ["expert"]


def test_the_columns_of_the_adapter_that_read_a_held_neuron_never_move_from_where_they_began() -> None:
    found = opened()
    still = finished(learn(found, lessons_of(found, SAMPLES), plan(found, epochs=1, decay=0.0, rate=1e-12), HELD))
    moved = finished(learn(found, lessons_of(found, SAMPLES), plan(found, epochs=4, decay=0.0), HELD))
    for layer, index in {neuron.site for neuron in HELD}:
        name = next(key for key in moved.adapter if f"layers.{layer}.mlp.down_proj.lora_A" in key)
        torch.testing.assert_close(moved.adapter[name][:, index], still.adapter[name][:, index], rtol=0, atol=1e-9)
        assert not torch.allclose(moved.adapter[name], still.adapter[name])


def test_gradients_are_those_of_plain_peft_on_the_same_loss() -> None:
    """The scores of one step, from nothing but torch and PEFT."""
    import peft

    found = opened()
    lessons = lessons_of(found, SAMPLES)[:1]
    round_ = finished(learn(found, lessons, plan(found, epochs=1, batch=1, seed=3)))
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=list(modules_of(found.anatomy)), lora_dropout=0.0)
    torch.manual_seed(3)
    model = peft.get_peft_model(found.model, config)
    with torch.enable_grad():
        lesson = lessons[0]
        logits = model(input_ids=torch.tensor([lesson.ids])).logits[0, lesson.start - 1 : -1]
        losses = nn.functional.cross_entropy(logits, torch.tensor(lesson.ids[lesson.start :]), reduction="none")
        weights = torch.tensor(lesson.weights)
        ((losses * weights).sum() / weights.sum()).backward()
    # B begins at zero, so A has no gradient in the first step: all that is absorbed is gradient × activation.
    expected = model.get_submodule("base_model.model.model.layers.1.mlp.down_proj").lora_A["default"].weight.grad
    torch.testing.assert_close(round_.recruits.scores["gradient"][1], expected.norm(dim=0))
    assert float(round_.recruits.scores["activation"][1].sum()) > 0


def test_gradient_times_activation_is_what_the_loss_loses_to_first_order_without_a_neuron() -> None:
    found = opened()
    lessons = lessons_of(found, SAMPLES[1:2])
    round_ = finished(learn(found, lessons, plan(found, epochs=1)))
    layer, width = 1, found.anatomy.layers[1].width
    seen: dict[str, torch.Tensor] = {}

    def keep(_: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        h = args[0].detach().requires_grad_()
        seen["h"] = h
        return (h,)

    handle = found.anatomy.layers[layer].sites[0].down.register_forward_pre_hook(keep)  # type: ignore[union-attr]
    with torch.enable_grad():
        loss_of(found, lessons[0]).backward()
    handle.remove()
    gradient = seen["h"].grad
    assert gradient is not None
    expected = (gradient * seen["h"]).abs().sum((0, 1))
    torch.testing.assert_close(round_.recruits.scores["activation"][layer], expected.detach())
    assert len(expected) == width


def test_the_same_seed_gives_the_same_round_twice_and_another_seed_another() -> None:
    found = opened()
    lessons = lessons_of(found, SAMPLES)
    one, two, other = (finished(learn(found, lessons, plan(found, seed=seed), HELD)) for seed in (0, 0, 1))
    assert same(one, two)
    assert not same(one, other)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 5), st.sampled_from(["llama", "gpt2"]))
def test_a_killed_round_goes_on_to_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, killed: int, family: str
) -> None:
    found = opened(family)
    lessons, wanted = lessons_of(found, SAMPLES), plan(found)
    whole = finished(learn(found, lessons, wanted, HELD))
    begun = BegunRound(model="m", dtype="float32", plan=wanted, data=data_of(lessons), suppressed=HELD)
    unfinished = Unfinished(tmp_path_factory.mktemp("killed") / "one.safetensors", begun)
    steps = learn(found, lessons, wanted, HELD, keep=unfinished.write)
    for event in steps:
        if isinstance(event, Progress) and event.unit == "steps" and event.done > killed:
            break
    steps.close()
    state = unfinished.taken_up()
    assert state is not None
    assert state.step == killed + 1
    assert same(whole, finished(learn(found, lessons, wanted, HELD, state=state)))


def test_a_cancelled_round_is_kept_and_the_model_is_whole() -> None:
    found, cancel = opened(), Cancel()
    before, kept = fingerprint(found.model), []
    steps = learn(
        found, lessons_of(found, SAMPLES), plan(found), keep=lambda state: kept.append(state.step), cancel=cancel
    )
    with pytest.raises(Cancelled):
        for event in steps:
            if isinstance(event, Progress) and event.unit == "steps":
                cancel.request()
    assert kept == [1]
    assert fingerprint(found.model) == before


def test_a_loss_that_is_no_number_stops_training_and_keeps_the_last_good_weights() -> None:
    found = opened()
    round_ = finished(learn(found, lessons_of(found, SAMPLES), plan(found, rate=1e18, epochs=9)))
    assert "not finite at step" in round_.stopped
    assert 0 < len(round_.curve) < plan(found, epochs=9).steps(len(SAMPLES))
    assert all(math.isfinite(step.loss) for step in round_.curve)


def test_a_module_that_is_not_there_and_an_emptied_layer_are_refused() -> None:
    found = opened()
    with pytest.raises(UsageError, match="called 'gate'") as error:
        check_modules(found.anatomy, ("down_proj", "gate"))
    assert "gate_proj" in error.value.hint
    everything = [Unit(1, index) for index in range(found.anatomy.layers[1].width)]
    with pytest.raises(UsageError, match="of layer 1 are suppressed"):
        finished(learn(found, lessons_of(found, SAMPLES), plan(found), everything))


def test_a_control_has_as_many_other_neurons_in_each_layer() -> None:
    anatomy = opened().anatomy
    drawn = drawn_like(anatomy, HELD, 1)
    assert sorted(neuron.layer for neuron in drawn) == sorted(neuron.layer for neuron in HELD)
    assert not {neuron.site for neuron in drawn} & {neuron.site for neuron in HELD}
    assert drawn == drawn_like(anatomy, HELD, 1) != drawn_like(anatomy, HELD, 2)


@pytest.fixture
def rounds(tmp_path: Path) -> Rounds:
    return Rounds(Store(tmp_path))


def job(found: OpenModel, name: str = "one", **changed: object) -> RoundRequest:
    usual = {"name": name, "lessons": lessons_of(found, SAMPLES), "plan": plan(found), "suppressed": HELD}
    return RoundRequest(**{**usual, **changed})  # type: ignore[arg-type]


def test_a_round_is_saved_whole_with_its_control_and_reads_back(rounds: Rounds) -> None:
    found = opened()
    saved = finished(train(found, rounds, job(found)))
    read = rounds.load("one")
    assert structs.replace(read, files={}) == saved
    assert read.control is not None
    assert len(read.control.curve) == len(read.outcome.curve) == 6
    assert rounds.recruits("one").strongest(5) == saved.recruited[:5]
    with safe_open(rounds.path("one") / "recruits.safetensors", framework="pt") as file:
        assert file.get_tensor("losses").tolist() == pytest.approx([step.loss for step in saved.outcome.curve])
        assert file.get_tensor("final").tolist() == pytest.approx(list(saved.outcome.final))
    assert not rounds.unfinished("one").exists()
    assert rounds.names() == ["one"]


def test_plain_peft_reads_the_adapter_of_a_round(rounds: Rounds) -> None:
    import peft

    found = opened()
    finished(train(found, rounds, job(found, suppressed=())))
    lesson = lessons_of(found, SAMPLES)[0]
    fresh = opened()
    model = peft.PeftModel.from_pretrained(fresh.model, rounds.adapter("one"))
    assert float(loss_of(fresh, lesson)) == pytest.approx(rounds.load("one").outcome.final[0], rel=1e-5)
    assert model.peft_config["default"].r == 4


def test_a_name_that_is_taken_is_refused_before_anything_is_trained(rounds: Rounds) -> None:
    found = opened()
    finished(train(found, rounds, job(found, control=False)))
    events = []
    with pytest.raises(ArtifactError, match="exists already"):
        events += collected(train(found, rounds, job(found)))[0]
    assert not events
    finished(train(found, rounds, job(found, control=False, force=True)))
    assert len(list((rounds.folder.parent / "trash" / "rounds").iterdir())) == 1


def test_a_round_begun_otherwise_is_not_gone_on_with(rounds: Rounds) -> None:
    found = opened()
    steps = train(found, rounds, job(found))
    for event in steps:
        if isinstance(event, Progress) and event.unit == "steps":
            break
    steps.close()
    with pytest.raises(ArtifactError, match="begun with other settings"):
        finished(train(found, rounds, job(found, plan=plan(found, rate=0.5))))
    with pytest.raises(ArtifactError, match="with other neurons suppressed"):
        finished(train(found, rounds, job(found, suppressed=HELD[:1])))
    assert finished(train(found, rounds, job(found, plan=plan(found, rate=0.5), anew=True))).name == "one"


def test_a_changed_file_of_a_round_is_noticed(rounds: Rounds) -> None:
    found = opened()
    finished(train(found, rounds, job(found, control=False)))
    path = rounds.adapter("one") / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="changed or damaged"):
        rounds.load("one")


def test_recruits_travel_through_their_file() -> None:
    scores = {"gradient": {3: torch.tensor([0.0, 2.0, 1.0]), 5: torch.tensor([4.0, 0.5])}, "last": {3: torch.zeros(3)}}
    found = Recruits(scores, (Unit(5, 1),))  # type: ignore[arg-type]
    read = Recruits.unpacked(found.packed(), "here")
    assert read.suppressed == found.suppressed
    assert [str(neuron) for neuron in read.strongest(9)] == ["L5/N0", "L3/N1", "L3/N2"]
    assert read.strongest(9, "last") == ()
    with pytest.raises(ArtifactError, match="not measured by activation"):
        read.strongest(1, "activation")


def test_a_round_is_trained_by_one_at_a_time(rounds: Rounds) -> None:
    found = opened()
    first = train(found, rounds, job(found))
    next(first)
    with pytest.raises(ArtifactError, match="trained by another session"):
        finished(train(opened(), rounds, job(found)))
    first.close()
    assert finished(train(found, rounds, job(found))).name == "one"
