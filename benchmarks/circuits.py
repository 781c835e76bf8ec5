"""Exact effects against the raw forward pass, and against switching neurons off one by one.

    python -m benchmarks.circuits [--json]

The 200 neurons are those of the reference circuit. The raw call is one forward pass of its prompt; one by one, they
would be 200 of them.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.measuring import Figure, in_turns, report, surroundings
from sessions.circuits.circuit import Neuron, Target
from sessions.circuits.verification import Verified, verify
from sessions.events import finished
from sessions.interventions.treating import Treatment, treated
from sessions.model.info import Token
from sessions.model.opening import OpenModel, open_model
from sessions.store import Store
from tests.reference import AUSTIN

NEURONS = tuple(Neuron(layer, index, position) for layer, position, index, *_ in AUSTIN.top[:200])
TARGET = Target(tokens=(Token(AUSTIN.target_id, ""),), counterfactual=Token(AUSTIN.counterfactual_id, ""))


def main() -> None:
    torch.set_num_threads(2)
    smollm2 = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    seconds = in_turns(9, raw=partial(value, smollm2), verify=partial(verified, smollm2))
    figures = [
        Figure("verify 200 neurons / one forward pass", seconds["verify"] / seconds["raw"], 12, seconds),
        Figure("largest difference to one by one, logits", largest_difference(smollm2), 1e-4, {}),
    ]
    report("circuits", figures, surroundings("float32", "cpu"))


def verified(opened: OpenModel) -> Verified:
    return finished(verify(opened, AUSTIN.ids, NEURONS, TARGET))


@torch.inference_mode()
def value(opened: OpenModel, treatment: Treatment | None = None) -> float:
    """The target's value in a pass over the whole prompt, under a treatment."""
    with treated(opened.anatomy, [] if treatment is None else [treatment]):
        logits = opened.model(input_ids=torch.tensor([AUSTIN.ids]), use_cache=False, logits_to_keep=1).logits[0, -1]
    return float(logits[AUSTIN.target_id] - logits[AUSTIN.counterfactual_id])


def largest_difference(opened: OpenModel) -> float:
    found = verified(opened)
    exact = (value(opened) - value(opened, Treatment((neuron,), 0.0)) for neuron in NEURONS)
    return max(abs(effect - each) for effect, each in zip(found.effects, exact, strict=True))


if __name__ == "__main__":
    main()
