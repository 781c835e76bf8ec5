"""Neurons trained alone: their rows and columns change, nothing else does, and what was learned is an edit."""

from __future__ import annotations

import pytest
import torch
from msgspec import structs

from sessions.edits.edit import Edit, Neurons
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.events import finished
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.texts.sample_files import Sample
from sessions.training.findings import TrainingPlan
from sessions.training.learning import TrainedRound, learn
from sessions.training.losses import loss_of
from sessions.training.samples import lessons_of
from sessions.training.targeted import targets_of
from tests.families import tiny, tiny_tokenizer
from tests.sessions.training.test_learning import fingerprint

SAMPLES = (Sample(prompt="abc", reply="fed"), Sample(prompt="hij klm", reply="nop"))
CHOSEN = (Unit(0, 3), Unit(1, 40), Unit(1, 2), Unit(2, 9))
PLAN = TrainingPlan(modules=(), rate=0.05, epochs=4, decay=0.0, neurons=CHOSEN)


def opened(family: str = "llama") -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def trained(found: OpenModel, plan: TrainingPlan = PLAN, **more: object) -> TrainedRound:
    return finished(learn(found, lessons_of(found, SAMPLES), plan, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "gemma3"])
def test_what_was_learned_is_an_edit_that_gives_the_same_losses_and_touches_nothing_else(family: str) -> None:
    found = opened(family)
    before = fingerprint(found.model)
    weights = {name: tensor.clone() for name, tensor in found.model.state_dict().items()}
    round_ = trained(found)
    assert fingerprint(found.model) == before
    assert sum(round_.final) < sum(round_.initial)
    assert round_.edit is not None
    with round_.edit.applied(found):
        losses = [float(loss_of(found, lesson)) for lesson in lessons_of(found, SAMPLES)]
        changed = {name for name, tensor in found.model.state_dict().items() if not torch.equal(tensor, weights[name])}
        lines = sum(
            int((tensor != weights[name]).any(dim=axis).sum())
            for name, tensor in found.model.state_dict().items()
            if name in changed
            for axis in [_other(tensor, found.anatomy.d_model)]
        )
    assert losses == pytest.approx(list(round_.final), rel=1e-4)
    parts = 2 if family == "gpt2" else 3
    assert lines == parts * len(CHOSEN)
    assert fingerprint(found.model) == before


def _other(tensor: torch.Tensor, d_model: int) -> int:
    """The axis that runs over the numbers of one line of a neuron."""
    return tensor.shape.index(d_model)


def test_training_goes_on_from_a_saved_delta_and_not_from_one_of_other_neurons() -> None:
    found = opened()
    first = trained(found)
    assert first.edit is not None
    second = trained(found, begins=first.edit)
    assert second.initial == pytest.approx(first.final, rel=1e-4)
    assert sum(second.final) < sum(first.final)
    with pytest.raises(ArtifactError, match="not among the neurons"):
        trained(found, structs.replace(PLAN, neurons=CHOSEN[:2]), begins=first.edit)
    replaced = Edit("rewrite", "", (Neurons(0, "gate", (3,), torch.zeros(1, found.anatomy.d_model)),), name="x")
    with pytest.raises(ArtifactError, match="not made of deltas"):
        trained(found, begins=replaced)


def test_a_suppressed_neuron_that_is_trained_learns_nothing() -> None:
    found = opened()
    round_ = trained(found, suppressed=CHOSEN[:1])
    assert round_.edit is not None
    for change in round_.edit.changes:
        assert isinstance(change, Neurons)
        if change.layer == CHOSEN[0].layer:
            assert not change.values.any()
        else:
            assert change.values.any()


def test_neurons_of_experts_and_none_at_all_are_refused() -> None:
    with pytest.raises(ModelError, match="expert"):
        targets_of(opened("mixtral"), CHOSEN)
    with pytest.raises(UsageError, match="no neuron"):
        targets_of(opened(), ())
