"""Edges between neurons against plain backward passes, and against the linearised network run forward.

    python -m benchmarks.edges [--json]

The hundred strongest neurons of the reference circuit, edges into thirty of them. Two times are compared: the part
after the forward passes with the backward pass of one attribution, and the whole with one attribution, forward and
backward. Thirty separate passes would make each ratio thirty. The twenty strongest edges are compared with the change
when their source is scaled by 0.9 in the linearised network (`tests.linear_replay`).
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.measuring import THREADS, Figure, report, surroundings
from sessions.circuits.attributing import attribute
from sessions.circuits.edges import trace
from sessions.events import finished
from sessions.model.info import Token
from sessions.model.opening import OpenModel, open_model
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.store import Store
from tests.linear_replay import worst_edge
from tests.reference import AUSTIN

NEURONS = tuple(Unit(layer, index, position) for layer, position, index, *_ in AUSTIN.top[:100])
TARGET = Target(tokens=(Token(AUSTIN.target_id, ""),), counterfactual=Token(AUSTIN.counterfactual_id, ""))
TARGETS, REPEATS = 30, 9


def main() -> None:
    torch.set_num_threads(THREADS)
    smollm2 = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    report("edges", figures(smollm2), surroundings("float32", "cpu"))


def figures(opened: OpenModel) -> list[Figure]:
    """Speed and accuracy of the edges of the reference circuit, on smollm2."""
    rounds = [(*attributed(opened), *traced(opened)) for _ in range(REPEATS + 1)][1:]
    attribution, backward, whole, edges = (median(times) for times in zip(*rounds, strict=True))
    size, signs = worst_edge(
        opened, AUSTIN.ids, difference, finished(trace(opened, AUSTIN.ids, TARGET, NEURONS, TARGETS))
    )
    return [
        Figure(
            f"edges into {TARGETS} / one backward pass", edges / backward, 6, {"edges": edges, "backward": backward}
        ),
        Figure(
            f"edges into {TARGETS} in whole / one attribution",
            whole / attribution,
            6,
            {"edges": whole, "attribution": attribution},
        ),
        Figure("strongest edges, largest relative difference to a change", size, 0.2, {}),
        Figure("strongest edges, signs that differ from it", signs, 0, {}),
    ]


def difference(logits: Tensor) -> Tensor:
    return logits[..., AUSTIN.target_id].sum() - logits[..., AUSTIN.counterfactual_id].sum()


def attributed(opened: OpenModel) -> tuple[float, float]:
    """Seconds of one attribution, and of its backward pass, which begins when the target is read."""
    read: list[float] = []

    def measure(logits: Tensor) -> Tensor:
        value = difference(logits)
        read.append(perf_counter())
        return value

    start = perf_counter()
    attribute(opened.model, opened.anatomy, torch.tensor([AUSTIN.ids]), measure)
    end = perf_counter()
    return end - start, end - read[0]


def traced(opened: OpenModel) -> tuple[float, float]:
    """Seconds of tracing edges, and of the part after the forward passes, which begins with the first progress."""
    start = perf_counter()
    steps = trace(opened, AUSTIN.ids, TARGET, NEURONS, TARGETS)
    next(steps)  # attributing
    next(steps)  # tracing edges
    forward = perf_counter()
    finished(steps)
    end = perf_counter()
    return end - start, end - forward


if __name__ == "__main__":
    main()
