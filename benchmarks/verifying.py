"""Exact effects, against the raw forward pass and against ablating neurons one by one.

    python -m benchmarks.verifying [--json]

The 200 neurons are those of the reference circuit on smollm2. The raw call is one forward pass of its prompt; one by
one would take 200 of them. Every dense family is compared with ablation one by one on a tiny random model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from benchmarks.measuring import THREADS, Figure, in_turns, report, surroundings
from sessions.circuits.verification import ExactEffects, verify
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.info import Token
from sessions.model.logits import value_of
from sessions.model.opening import OpenModel, adopt, open_model
from sessions.model.target import Target
from sessions.model.tokens import last_positions
from sessions.model.units import Unit
from sessions.store import Store
from tests.families import DENSE, tiny, tiny_tokenizer
from tests.reference import AUSTIN

NEURONS = tuple(Unit(layer, index, position) for layer, position, index, *_ in AUSTIN.top[:200])
TARGET = Target(tokens=(Token(AUSTIN.target_id, ""),), counterfactual=Token(AUSTIN.counterfactual_id, ""))
#: What the tiny models are asked: ids, target, and neurons at every layer and position but the first.
TINY_IDS = (1, 9, 30, 12, 47, 22)
TINY_TARGET = Target(tokens=(Token(14, ""),), counterfactual=Token(15, ""))
TINY_NEURONS = tuple(Unit(layer, 5 * position, position) for layer in range(3) for position in range(1, 6))


def main() -> None:
    torch.set_num_threads(THREADS)
    smollm2 = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    report("exact effects", figures(smollm2), surroundings("float32", "cpu"))


def figures(smollm2: OpenModel) -> list[Figure]:
    """The cost of 200 exact effects, and their accuracy."""
    seconds = in_turns(5, raw=partial(value, smollm2, AUSTIN.ids, TARGET), verify=partial(verified, smollm2))
    families = (adopt(tiny(family), tiny_tokenizer(), name=family) for family in DENSE)
    tiny_error = max(largest_difference(each, TINY_IDS, TINY_NEURONS, TINY_TARGET) for each in families)
    error = largest_difference(smollm2, AUSTIN.ids, NEURONS, TARGET)
    return [
        Figure("verify 200 neurons / one forward pass", seconds["verify"] / seconds["raw"], 12, seconds),
        Figure("largest difference to one by one, logits", error, 1e-4, {}),
        Figure(f"the same, tiny models of {len(DENSE)} families", tiny_error, 1e-4, {}),
    ]


def verified(opened: OpenModel) -> ExactEffects:
    return finished(verify(opened, AUSTIN.ids, NEURONS, TARGET))


@torch.inference_mode()
def value(opened: OpenModel, ids: Sequence[int], target: Target, treatment: Intervention | None = None) -> float:
    """The target's value in a pass over the whole prompt, under an intervention."""
    text = torch.tensor([ids])
    with intervening(opened.anatomy, [] if treatment is None else [treatment]):
        out = opened.model(input_ids=text, use_cache=False, logits_to_keep=last_positions(1, text))
    return float(value_of(target, out.logits[0]))


def largest_difference(opened: OpenModel, ids: Sequence[int], neurons: Sequence[Unit], target: Target) -> float:
    found = finished(verify(opened, ids, neurons, target))
    clean = value(opened, ids, target)
    exact = [clean - value(opened, ids, target, Intervention((neuron,), 0.0)) for neuron in neurons]
    return max(abs(effect - each) for effect, each in zip(found.effects, exact, strict=True))


if __name__ == "__main__":
    main()
