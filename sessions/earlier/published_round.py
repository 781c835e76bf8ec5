"""Reads a round of training from a file of an earlier project: what was held at zero, what each neuron absorbed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sessions.earlier.published_fields import Fields, finite_number, is_count, layer_of
from sessions.errors import ArtifactError, UsageError
from sessions.interventions.presets import Known, Preset
from sessions.model.units import Unit
from sessions.training.findings import Outcome, Round, TrainingPlan
from sessions.training.recruits import TOP, Recruits

if TYPE_CHECKING:
    from sessions.model.info import ModelInfo
    from sessions.model.parts import Anatomy


@dataclass(frozen=True, eq=False)
class PublishedRound:
    """A round of training: its recruits and, if the file has them, the losses of each sample in each epoch."""

    recruits: Recruits
    losses: Mapping[str, tuple[float, ...]]

    def check(self, anatomy: Anatomy, source: str) -> None:
        """Refuse a model that lacks the round's layers or neurons.

        Raises:
            ArtifactError: the round was trained on another model.
        """
        hint = "open the model it was trained on"
        for layer, scores in self.recruits.scores["gradient"].items():
            anatomy.check_layer(layer)
            width = anatomy.layers[layer].width
            if len(scores) != width:
                raise ArtifactError(
                    f"{source} has {len(scores):,} neurons in layer {layer}, and this model has {width:,} there", hint
                )
        for neuron in self.recruits.suppressed:
            try:
                anatomy.check(*neuron.site)
            except UsageError as error:
                raise ArtifactError(
                    f"{source} held {neuron} at zero, which this model lacks: {error.message}", hint
                ) from error

    def as_round(self, name: str, info: ModelInfo, command: str, created: str) -> Round:
        """The round in the form that is saved; its plan is unknown, and it has no adapter."""
        losses = list(self.losses.values()) or [(0.0, 0.0)]
        initial, final = (tuple(epochs[end] for epochs in losses) for end in (0, -1))
        return Round(
            name=name,
            model=info.name,
            fingerprint=info.fingerprint,
            command=command,
            created=created,
            seconds=0.0,
            versions={},
            plan=TrainingPlan(modules=()),
            data="",
            samples=tuple(self.losses) or ("unknown",),
            suppressed=self.recruits.suppressed,
            outcome=Outcome(initial=initial, final=final, curve=()),
            recruited=self.recruits.strongest(TOP),
            config={},
        )

    def held_at_zero(self) -> Preset | None:
        """A preset that holds the suppressed neurons at zero; None if there were none."""
        known = tuple(
            Known(id=str(neuron), layer=neuron.layer, index=neuron.index, gain=0.0, mode="hold")
            for neuron in self.recruits.suppressed
        )
        return Preset(neurons=known) if known else None


def trained_in(contents: Mapping[Any, Any], source: str) -> PublishedRound:
    """The round in a file that has the key `cum_neuron_down`.

    Raises:
        ArtifactError: the contents are malformed or contradict each other.
    """
    by_layer, listed = contents["cum_neuron_down"], contents.get("suppress_dict") or {}
    if not isinstance(by_layer, dict) or not isinstance(listed, dict) or not by_layer:
        raise ArtifactError(f"{source} has a cum_neuron_down or a suppress_dict that is not a dictionary of layers")
    absorbed = {}
    for key in by_layer:
        scores, layer = Fields(by_layer, f"{source}: cum_neuron_down").direction(key, unit=False), layer_of(key, source)
        if layer in absorbed:
            raise ArtifactError(f"{source} has layer {layer} twice in cum_neuron_down, as a number and as a text")
        absorbed[layer] = scores
    suppressed = [neuron for key, indices in listed.items() for neuron in _held(key, indices, source)]
    if len({neuron.site for neuron in suppressed}) < len(suppressed):
        raise ArtifactError(f"{source} has a neuron twice in suppress_dict")
    in_order = tuple(sorted(suppressed, key=lambda neuron: neuron.site))
    recruits = Recruits({"gradient": dict(sorted(absorbed.items()))}, in_order)
    return PublishedRound(recruits, dict(_curves(contents.get("per_qa_loss_curves"))))


def _held(key: Any, indices: Any, source: str) -> Iterator[Unit]:
    """The neurons of one layer that were held at zero."""
    layer = layer_of(key, source)
    if not isinstance(indices, list | set | tuple):
        raise ArtifactError(f"{source}: suppress_dict has no list of neurons in layer {layer}")
    for index in indices:
        if not is_count(index):
            raise ArtifactError(
                f"{source}: suppress_dict has {repr(index)[:40]} in layer {layer}, which is not a neuron"
            )
        yield Unit(layer, index)


def _curves(curves: Any) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Each sample with its weighted loss in each epoch, the second number of a pair; malformed rows are left out."""
    for name, rows in curves.items() if isinstance(curves, dict) else ():
        pairs = (
            [row for row in rows if isinstance(row, list | tuple) and len(row) == 2] if isinstance(rows, list) else []
        )
        losses = tuple(map(finite_number, (row[1] for row in pairs if isinstance(row[1], int | float))))
        if losses and None not in losses and isinstance(name, str | int):
            yield str(name).encode(errors="backslashreplace").decode(), losses  # type: ignore[misc]
