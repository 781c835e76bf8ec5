"""A preset as the session's model takes it."""

from __future__ import annotations

from msgspec import structs

from sessions.errors import UsageError
from sessions.interventions.intervention import SEGMENTS
from sessions.interventions.presets import Preset
from sessions.procedures.thoughts import closing, thinks
from sessions.session import Session


def without_thoughts(session: Session, preset: Preset, marker: str | None) -> tuple[Preset, tuple[str, ...]]:
    """The preset as a model that does not think takes it: all of a reply is its answer, and a thought never comes."""
    regions = [known.region for known in preset.neurons]
    if marker is not None or thinks(session) or not {"answer", "thought"} & {*regions}:
        return preset, ()
    kept = tuple(
        structs.replace(known, region="generated") if known.region == "answer" else known
        for known in preset.neurons
        if known.region != "thought"
    )
    if not kept:
        closing(session)  # there is nothing but thoughts: say how they end
    left = f"; {regions.count('thought')} neurons for the thought are left out" if "thought" in regions else ""
    remark = f"this model's template knows no thoughts: all of a reply is its answer{left}"
    return structs.replace(preset, neurons=kept), (remark,)


def without_suppressed_neurons(session: Session, name: str, preset: Preset) -> tuple[Preset, tuple[str, ...]]:
    """The preset without neurons that are suppressed, which stay at zero, and a remark on them."""
    suppressed = {neuron.anywhere for neuron in session.suppressed}
    left = tuple(known for known in preset.neurons if known.neuron.anywhere not in suppressed)
    if not left:
        raise UsageError(f"all neurons of preset '{name}' are suppressed", "release them first: release all")
    if len(left) == len(preset):
        return preset, ()
    first = next(known.neuron for known in preset.neurons if known.neuron.anywhere in suppressed)
    remark = f"{len(preset) - len(left)} of them are suppressed and stay at zero: the first is {first}"
    return structs.replace(preset, neurons=left), (remark,)


def marker_for(session: Session, preset: Preset, given: str | None) -> str:
    """The text that ends a thought, where a neuron of the preset is for a part that it bounds."""
    if any(known.where.region in SEGMENTS for known in preset.neurons):
        return given or closing(session)
    if given is not None:
        raise UsageError("--marker says where a thought ends, and no neuron of the preset is for thought or answer")
    return ""
