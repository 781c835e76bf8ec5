"""`attribute`: the relevance of every unit for a measure on a prompt, by any of the methods."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedModel

from sessions.cancel import Cancel
from sessions.circuits.attribution import STEPS, Attribution, Measure, Reference
from sessions.circuits.methods import DEFAULT, named
from sessions.circuits.passes import Pass
from sessions.model.info import HEADS
from sessions.model.parts import Anatomy
from sessions.model.units import NEURONS, Kind


def attribute(
    model: PreTrainedModel,
    anatomy: Anatomy,
    ids: Tensor,
    measure: Measure,
    *,
    method: str = DEFAULT,
    attention: str = "frozen",
    reference: Reference | None = None,
    steps: int = STEPS,
    kept: int = 1,
    lengths: Sequence[int] | None = None,
    kinds: tuple[Kind, ...] = NEURONS,
    cancel: Cancel | None = None,
) -> Attribution:
    """Relevance of every unit of these kinds for `measure` of the logits at the last `kept` positions.

    Args:
        ids: one prompt, `[1, seq]`, on any device; with `lengths`, many, `[prompts, seq]`, padded on the right.
        measure: the target, a function of the logits in float32.
        method: the name of one of the `methods`.
        attention: how relevance passes attention (see `rules`).
        reference: what neurons are compared with; zero by default.
        steps: number of passes, for methods that take several.
        kinds: units to attribute: neurons, heads or both.
        lengths: the number of tokens of each of many prompts, whose target is read at its last token.

    Raises:
        UsageError: there is no such method.
        NotFinite: the target's value, or a layer's relevance, is not finite.
        ModelError: the family is out of reach of the method, or offloaded weights have no room.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    chosen = named(method)
    chosen.check_model(anatomy, reference)
    if "head" in kinds:
        anatomy.require(HEADS)
    return chosen.attribute(
        Pass(
            model,
            anatomy,
            ids,
            measure,
            attention,
            reference,
            steps=steps,
            kept=kept,
            lengths=lengths,
            cancel=cancel,
            kinds=kinds,
        )
    )
