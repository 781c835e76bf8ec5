"""What a round keeps of its losses and its gradient: plain ones beside weighted ones, by epoch, by projection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from sessions.errors import ArtifactError
from sessions.events import Progress, finished
from sessions.files.tensor_file import Tensors, digest, read, written
from sessions.model.opening import OpenModel, adopt
from sessions.store import Store
from sessions.training.comparing import compared
from sessions.training.findings import TrainingPlan, TrainingStep, by_layer, epochs_of, shares
from sessions.training.gradients import ModuleGradients
from sessions.training.learner import Learner, TrainingState, adapted
from sessions.training.learning import learn
from sessions.training.projections import modules_of
from sessions.training.recruits import Absorbing
from sessions.training.round import Rounds
from sessions.training.samples import Lesson, Sample, lessons_of
from sessions.training.training import RoundRequest, train
from sessions.training.unfinished import BegunRound, Unfinished, data_of
from tests.families import tiny, tiny_tokenizer
from tests.rounds import kept

SAMPLES = (
    Sample(prompt="abc", reply="fed", parts={"conclusions": ("ed",)}),
    Sample(prompt="hij klm", reply="nop"),
    Sample(prompt="q", reply="rst uv"),
)


def opened(family: str = "llama") -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def plan(found: OpenModel, **changed: Any) -> TrainingPlan:
    return TrainingPlan(**{"modules": modules_of(found.anatomy), "rate": 0.01, "epochs": 2, "rank": 4, **changed})


def plain_loss(found: OpenModel, lesson: Lesson) -> float:
    """The mean cross-entropy of a reply, from nothing but torch."""
    with torch.no_grad():
        logits = found.model(input_ids=torch.tensor([lesson.ids])).logits[0, lesson.start - 1 : -1]
    return float(functional.cross_entropy(logits, torch.tensor(lesson.ids[lesson.start :])))


def test_plain_losses_are_the_mean_cross_entropy_of_the_reply_whatever_its_weights() -> None:
    found = opened()
    lessons = lessons_of(found, SAMPLES)
    round_ = finished(learn(found, lessons, plan(found)))
    assert round_.plain_initial == pytest.approx([plain_loss(found, lesson) for lesson in lessons], rel=1e-5)
    assert round_.plain_initial[0] != pytest.approx(round_.initial[0], rel=1e-3)
    assert round_.plain_initial[1] == pytest.approx(round_.initial[1], rel=1e-5)  # no part of it has another weight
    assert sum(round_.plain_final) < sum(round_.plain_initial)


@pytest.mark.parametrize("batch", [1, 2])
def test_an_epoch_has_the_loss_of_each_sample_before_the_step_it_was_in(batch: int) -> None:
    found = opened()
    lessons = lessons_of(found, SAMPLES)
    round_ = finished(learn(found, lessons, plan(found, epochs=3, batch=batch)))
    epochs = epochs_of(round_.curve, len(lessons))
    assert [len(each.losses) for each in epochs] == [3, 3, 3]
    first = round_.curve[0]
    for place, sample in enumerate(first.samples):
        assert epochs[0].losses[sample] == first.losses[place] == pytest.approx(round_.initial[sample], rel=1e-5)
        assert epochs[0].plain_losses[sample] == pytest.approx(round_.plain_initial[sample], rel=1e-5)
    assert first.loss == pytest.approx(sum(first.losses) / len(first.samples))
    assert epochs[2].loss < epochs[0].loss and epochs[2].plain_loss < epochs[0].plain_loss


def test_an_epoch_that_ended_early_says_which_samples_it_did_not_meet() -> None:
    curve = [
        TrainingStep((1,), 4.0, 1.0, (4.0,), (5.0,)),
        TrainingStep((0,), 2.0, 1.0, (2.0,), (3.0,)),
        TrainingStep((1,), 1.0, 1.0, (1.0,), (2.0,)),
    ]
    whole, broken = epochs_of(curve, 2)
    assert (whole.losses, whole.loss, whole.plain_loss) == ((2.0, 4.0), 3.0, 4.0)
    assert (broken.losses, broken.plain_losses, broken.loss) == ((None, 1.0), (None, 2.0), 1.0)
    assert epochs_of([TrainingStep((0,), 4.0, 1.0)], 1) == ()  # a step that was kept before steps said so


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "gemma3"])
def test_gradient_is_kept_by_kind_of_projection_and_layer_as_plain_peft_has_it(family: str) -> None:
    """After one step B has moved and A has a gradient: the norms of the second step are the sum minus the first."""
    found = opened(family)
    lessons, wanted = lessons_of(found, SAMPLES[:1]), plan(found, epochs=1)
    state = TrainingState()
    with adapted(found, wanted) as learner:
        expected = _norms(learner, lessons[0], state)
        again = _norms(learner, lessons[0], state)
    modules = state.absorbing.modules
    assert modules is not None
    rows = modules.rows()
    assert set(rows) == set(wanted.modules)
    for kind, row in rows.items():
        assert len(row) == found.anatomy.n_layers
        assert row.tolist() == pytest.approx([expected[kind, layer] + again[kind, layer] for layer in range(len(row))])


def _norms(learner: Learner, lesson: Lesson, state: TrainingState) -> dict[tuple[str, int], float]:
    """The norms of what a step leaves, by name and not by wrapper."""
    with learner.running((), state.absorbing, None):
        learner.gradients([lesson], state)
    squares: dict[tuple[str, int], float] = {}
    for name, weight in learner.weights.items():
        parts = name.split(".")
        layer = next(int(part) for part in parts if part.isdecimal())
        kind = parts[next(at for at, part in enumerate(parts) if part.startswith("lora_")) - 1]
        squares[kind, layer] = squares.get((kind, layer), 0.0) + float(weight.grad.norm()) ** 2  # type: ignore[union-attr]
    return {place: square**0.5 for place, square in squares.items()}


def test_gradient_of_neurons_alone_is_that_of_their_own_weights() -> None:
    from sessions.model.units import Unit

    found = opened()
    alone = plan(found, modules=(), neurons=(Unit(1, 3), Unit(2, 5)))
    round_ = finished(learn(found, lessons_of(found, SAMPLES), alone))
    assert set(round_.gradient) == {"gate_proj", "up_proj", "down_proj"}
    assert all(row[0] == 0 and row[1] > 0 and row[2] > 0 for row in round_.gradient.values())


def test_a_killed_round_goes_on_to_the_same_gradient_and_epochs(tmp_path: Path) -> None:
    found = opened()
    lessons, wanted = lessons_of(found, SAMPLES), plan(found)
    whole = finished(learn(found, lessons, wanted))
    unfinished = _killed(tmp_path, found, lessons, wanted, after=2)
    gone_on = finished(learn(found, lessons, wanted, state=unfinished.taken_up()))
    assert gone_on.gradient == whole.gradient and gone_on.curve == whole.curve
    assert (gone_on.plain_initial, gone_on.plain_final) == (whole.plain_initial, whole.plain_final)


def _killed(
    folder: Path, found: OpenModel, lessons: tuple[Lesson, ...], wanted: TrainingPlan, after: int
) -> Unfinished:
    begun = BegunRound(model="m", dtype="float32", plan=wanted, data=data_of(lessons))
    unfinished = Unfinished(folder / "one.safetensors", begun)
    steps = learn(found, lessons, wanted, keep=unfinished.write)
    for event in steps:
        if isinstance(event, Progress) and event.unit == "steps" and event.done == after:
            break
    steps.close()
    return unfinished


def test_a_round_begun_by_an_earlier_workbench_goes_on_without_what_it_did_not_count(tmp_path: Path) -> None:
    found = opened()
    lessons, wanted = lessons_of(found, SAMPLES), plan(found)
    whole = finished(learn(found, lessons, wanted))
    unfinished = _killed(tmp_path, found, lessons, wanted, after=2)
    _as_before(unfinished.path)
    gone_on = finished(learn(found, lessons, wanted, state=unfinished.taken_up()))
    assert gone_on.final == whole.final
    assert gone_on.gradient == {} and gone_on.plain_initial == ()
    assert epochs_of(gone_on.curve, len(lessons)) == ()


def _as_before(path: Path) -> None:
    """Take out of an unfinished round what earlier ones did not have."""
    contents = read(path.read_bytes(), "here")
    reached = json.loads(contents.fields["reached"])
    del reached["plain_initial"]
    for step in reached["curve"]:
        del step["losses"], step["plain_losses"]
    tensors = {name: each for name, each in contents.tensors.items() if not name.startswith("module.")}
    fields = {"begun": contents.fields["begun"], "reached": json.dumps(reached)}
    fields["sha256"] = digest(fields, tensors)
    path.write_bytes(written(Tensors(fields, tensors)))


def test_a_round_is_kept_with_its_plain_losses_its_epochs_and_its_gradient(tmp_path: Path) -> None:
    found, rounds = opened(), Rounds(Store(tmp_path))
    finished(train(found, rounds, RoundRequest(name="one", lessons=lessons_of(found, SAMPLES), plan=plan(found))))
    outcome = rounds.load("one").outcome
    assert outcome.weighs
    assert len(outcome.plain_initial) == len(outcome.plain_final) == len(outcome.epochs[1].losses) == 3
    flow = shares(outcome.gradient)
    assert sum(by_layer(flow)) == pytest.approx(1.0)
    assert len(by_layer(flow)) == found.anatomy.n_layers


def test_a_round_that_was_kept_before_opens_and_compares(tmp_path: Path) -> None:
    """`round.json` as an earlier commit wrote it: nothing of plain losses, epochs and gradient."""
    found, rounds = opened(), Rounds(Store(tmp_path))
    kept(Store(tmp_path), found, "old")
    finished(train(found, rounds, RoundRequest(name="new", lessons=lessons_of(found, SAMPLES), plan=plan(found))))
    path = rounds.path("old") / "round.json"
    said = json.loads(path.read_text())
    for name in ("plain_initial", "plain_final", "epochs", "gradient"):
        del said["outcome"][name]
    for step in said["outcome"]["curve"]:
        del step["losses"], step["plain_losses"]
    path.write_text(json.dumps(said))
    old, new = rounds.load("old"), rounds.load("new")
    assert (old.outcome.plain_final, old.outcome.epochs, old.outcome.gradient) == ((), (), {})
    assert not old.outcome.weighs
    both = compared(old, new)
    assert both.cosine is None and both.modules[0].shares[0] is None and both.modules[0].shares[1] is not None
    assert both.losses[-1].plain_after[0] is None


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("plain_final", [1.0], "losses that are not of its 2 samples"),
        ("epochs", [{"loss": 1, "plain_loss": 1, "losses": [1], "plain_losses": []}], "not of its 2 samples"),
        ("gradient", {"a": [1.0], "b": [1.0, 2.0]}, "more layers in one projection"),
    ],
)
def test_a_round_whose_measures_do_not_fit_together_is_refused(
    tmp_path: Path, field: str, value: Any, why: str
) -> None:
    rounds = Rounds(Store(tmp_path))
    kept(Store(tmp_path), opened(), "one")
    path = rounds.path("one") / "round.json"
    said = json.loads(path.read_text())
    said["outcome"][field] = value
    path.write_text(json.dumps(said))
    with pytest.raises(ArtifactError, match=why):
        rounds.load("one")


def test_two_rounds_share_what_they_share_and_one_is_just_like_itself(tmp_path: Path) -> None:
    found, rounds = opened(), Rounds(Store(tmp_path))
    lessons = lessons_of(found, SAMPLES)
    finished(train(found, rounds, RoundRequest(name="one", lessons=lessons, plan=plan(found))))
    finished(train(found, rounds, RoundRequest(name="two", lessons=lessons, plan=plan(found, modules=("down_proj",)))))
    one, two = rounds.load("one"), rounds.load("two")
    same = compared(one, one, 100)
    assert same.cosine == pytest.approx(1.0) and same.jaccard == 1.0 and same.by_chance == pytest.approx(9.0)
    other = compared(one, two)
    assert {row.place: row.shares[1] for row in other.modules}["down_proj"] == pytest.approx(1.0)
    assert {row.place for row in other.modules} == set(modules_of(found.anatomy))
    assert sum(row.shares[0] or 0.0 for row in other.layers) == pytest.approx(1.0)
    assert [row.sample for row in other.losses] == ["sample 1", "sample 2", "sample 3", "mean"]
    assert {neuron.site for neuron in other.shared} <= {neuron.site for neuron in two.recruited}


def test_gradient_that_never_came_counts_as_none() -> None:
    """Experts that no token was routed to have no gradient at all."""
    counted, weight = ModuleGradients(), torch.nn.Parameter(torch.ones(2))
    counted.watch({("w1", 0): [weight]}, 2)
    counted.step()
    assert {kind: row.tolist() for kind, row in counted.rows().items()} == {"w1": [0.0, 0.0]}
    assert shares({"w1": (0.0, 0.0)}) == {} and Absorbing().modules is not None
