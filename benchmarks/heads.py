"""Exact effects of attention heads, against a raw forward pass for each of them.

    python -m benchmarks.heads [--json]

Every head of smollm2 is ablated at every position of the reference prompt, alone: 11,340 effects of 270 heads at 42
positions. One by one each would take a forward pass of the prompt. A random sample of the effects is compared with
ablation one by one, and so are all heads of every family on a tiny random model.
"""

from __future__ import annotations

import random
from functools import partial
from time import perf_counter

import torch

from benchmarks.measuring import THREADS, Figure, in_turns, report, surroundings
from benchmarks.verifying import TARGET, TINY_IDS, TINY_TARGET, largest_difference, value
from sessions.circuits.verification import ExactEffects, verify
from sessions.events import finished
from sessions.interventions.intervention import Intervention
from sessions.model.opening import OpenModel, adopt, open_model
from sessions.model.units import Unit
from sessions.store import Store
from tests.families import ALL, tiny, tiny_tokenizer
from tests.reference import AUSTIN

#: Effects that are compared with ablation one by one.
SAMPLE = 60


def main() -> None:
    torch.set_num_threads(THREADS)
    smollm2 = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    report("effects of heads", figures(smollm2), surroundings("float32", "cpu"))


def figures(smollm2: OpenModel) -> list[Figure]:
    """The cost of all effects, and their accuracy."""
    heads = heads_of(smollm2, len(AUSTIN.ids))
    seconds = in_turns(5, raw=partial(value, smollm2, AUSTIN.ids, TARGET))
    start = perf_counter()  # once: thousands of passes are their own average
    found = finished(verify(smollm2, AUSTIN.ids, heads, TARGET))
    seconds["heads"] = perf_counter() - start
    families = [adopt(tiny(family), tiny_tokenizer(), name=family) for family in ALL]
    tiny_error = max(
        largest_difference(each, TINY_IDS, heads_of(each, len(TINY_IDS)), TINY_TARGET) for each in families
    )
    error = sampled(smollm2, heads, found)
    return [
        Figure(
            f"{len(heads):,} effects / as many forward passes",
            seconds["heads"] / seconds["raw"] / len(heads),
            0.5,
            seconds,
        ),
        Figure(f"largest difference to one by one, {SAMPLE} of them, logits", error, 1e-4, {}),
        Figure(f"the same, all heads of {len(families)} tiny families", tiny_error, 1e-4, {}),
    ]


def heads_of(opened: OpenModel, length: int) -> list[Unit]:
    """Every head at every position of a text."""
    return [
        Unit(layer, head, position, kind="head")
        for layer, count in enumerate(opened.anatomy.counts("head"))
        for head in range(count)
        for position in range(length)
    ]


def sampled(opened: OpenModel, heads: list[Unit], found: ExactEffects) -> float:
    """The largest difference to ablation one by one over some of the effects."""
    chosen = random.Random(0).sample(range(len(heads)), SAMPLE)
    exact = [found.value - value(opened, AUSTIN.ids, TARGET, Intervention((heads[which],), 0.0)) for which in chosen]
    return max(abs(found.effects[which] - each) for which, each in zip(chosen, exact, strict=True))


if __name__ == "__main__":
    main()
