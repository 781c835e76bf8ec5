"""Which method estimates a neuron's effect, and which finds a circuit: the tables behind the defaults.

    python -m benchmarks.methods [--json] [--quick]

Two questions, on both embedded models and several tasks (`tests/data/prompts`; each task has prompts to find a circuit
on, and others, of other words, to measure it on):

*single neurons*  How do attributions agree with the exact effect of each neuron alone, held at zero or at the mean that
                  the attribution is compared with? On the union of every method's strongest neurons and of random ones.
*circuits*        What do the first k neurons keep of the target when all others are held at their means, and what is
                  left when these alone are held (`sessions.circuits.faithfulness`)? Means are over the prompts that
                  circuits are found on, so that nothing of the others is seen before they are measured.

With --quick, the agreement task on smollm2 alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.measuring import Figure, Table, report, surroundings
from sessions.circuits import many
from sessions.circuits.agreement import Agreement, agreement
from sessions.circuits.attribution import Attribution, Method, Reference, attribute, place_of
from sessions.circuits.cases import Case, settled
from sessions.circuits.circuit import Neuron
from sessions.circuits.faithfulness import NONE, WHOLE, Curve, Run, curve, drawn, targets
from sessions.circuits.prompts import read_prompts
from sessions.circuits.recording import means
from sessions.circuits.rules import Attention
from sessions.circuits.verification import verify
from sessions.events import finished
from sessions.model.anatomy import Anatomy
from sessions.model.opening import OpenModel, open_model
from sessions.store import Store

PROMPTS = Path(__file__).parents[1] / "tests" / "data" / "prompts"
TASKS = ("agreement", "pronouns", "capitals")
SIZES = (10, 25, 50, 100, 200, 400)
#: Methods with their attention rules, and what they are compared with.
RULES: tuple[tuple[Method, Attention], ...] = (
    ("relp", "frozen"),
    ("relp", "gradient"),
    ("atp", "gradient"),
    ("ig", "gradient"),
)
REFERENCES = ("zero", "mean", "positions")
DEFAULT = ("relp", "frozen", "positions")
#: Passes of ig, as many as in EAP-IG.
STEPS = 5
#: Random circuits that are averaged.
CONTROLS = 2
#: Single neurons: prompts of each task, and neurons of each prompt: so many of each method, and so many at random.
SINGLE = 3
STRONGEST, RANDOM = 50, 100

Way = tuple[Method, Attention, str]
WAYS: tuple[Way, ...] = tuple((method, attention, reference) for method, attention in RULES for reference in REFERENCES)


@dataclass(frozen=True)
class Task:
    """Prompts to find circuits on, others to measure them on, and means over the first: of a neuron, and of a neuron at
    each position."""

    name: str
    found_on: tuple[Case, ...]
    others: tuple[Case, ...]
    flat: tuple[Tensor, ...]
    aligned: tuple[Tensor, ...]

    def reference(self, word: str, length: int) -> Reference | None:
        """What a prompt of so many tokens is compared with."""
        if word == "zero":
            return None
        if word == "mean":
            return Reference(self.flat)
        places = torch.arange(-length, 0)
        return Reference(tuple(each[places.clamp(min=-len(each))] for each in self.aligned))


def main() -> None:
    torch.set_num_threads(2)
    quick = "--quick" in sys.argv
    tables: list[Table] = []
    figures: list[Figure] = []
    for name in ("smollm2",) if quick else ("smollm2", "gemma3-270m"):
        opened = finished(open_model(name, models=Store().models, dtype="float32", device="cpu"))
        tasks = [task(opened, each) for each in (TASKS[:1] if quick else TASKS)]
        tables.append(single_neurons(opened, tasks))
        for each in tasks:
            measured = circuits(opened, each)
            tables.append(circuits_table(opened, each, measured))
            if name == "smollm2" and each.name == "agreement":
                figures = bars(measured)
        tables.append(rankings(opened, tasks[0]))
    report("methods", figures, surroundings("float32", "cpu"), tables, ["--quick"])


def figures(smollm2: OpenModel) -> list[Figure]:
    """What is asked of the default, on agreement."""
    return bars(circuits(smollm2, task(smollm2, "agreement")))


def task(opened: OpenModel, name: str) -> Task:
    found_on, others = (cases(opened, f"{name}-{part}.jsonl") for part in ("discover", "test"))
    texts = [case.ids for case in found_on]
    with TemporaryDirectory() as home:
        flat, aligned = (finished(means(opened, texts, Path(home), aligned=each)) for each in (False, True))
    return Task(name, found_on, others, flat, aligned)


def cases(opened: OpenModel, file: str) -> tuple[Case, ...]:
    return finished(settled(opened, read_prompts((PROMPTS / file).read_bytes(), file)))


# ---- circuits


def circuits(opened: OpenModel, task: Task) -> dict[str, Curve]:
    """The curve of each way to find a circuit, by its name, and of random neurons."""
    found = {described(way): ranking(attributed(opened, task, way)) for way in WAYS}
    curves = curves_of(opened, task, found)
    default = found[described(DEFAULT)]
    controls = {str(seed): drawn(opened.anatomy, default, seed) for seed in range(CONTROLS)}
    random = curves_of(opened, task, controls).values()
    return {**curves, "random": Curve(_mean(each.kept for each in random), _mean(each.left for each in random))}


def attributed(opened: OpenModel, task: Task, way: Way) -> list[Tensor]:
    """Mean attribution of each neuron, `[width]` a site: those of prompts of one length together, since a reference with
    positions is that of a length."""
    method, attention, word = way
    total: list[Tensor] = []
    ordered = sorted(task.found_on, key=lambda case: len(case.ids))
    for length, group in groupby(ordered, key=lambda case: len(case.ids)):
        part = tuple(group)
        reference = task.reference(word, length)
        steps = many.collapsed(
            opened, part, method=method, attention=attention, reference=reference, steps=STEPS
        )
        weighed = [each * (len(part) / len(ordered)) for each in finished(steps)]
        total = [one + other for one, other in zip(total, weighed, strict=True)] if total else weighed
    return total


def ranking(values: Sequence[Tensor], signed: bool = False) -> tuple[Neuron, ...]:
    """The strongest neurons, by |attribution| or by how much each is for the target."""
    ends = torch.tensor([len(each) for each in values]).cumsum(0)
    flat = torch.cat(list(values))
    top = (flat if signed else flat.abs()).topk(SIZES[-1]).indices
    layers = torch.searchsorted(ends, top, right=True)
    starts = ends - torch.tensor([len(each) for each in values])
    pairs = zip(layers.tolist(), (top - starts[layers]).tolist(), strict=True)
    return tuple(Neuron(layer, index) for layer, index in pairs)


def curves_of(opened: OpenModel, task: Task, rankings: dict[str, tuple[Neuron, ...]]) -> dict[str, Curve]:
    runs = [NONE, WHOLE]
    for which in range(len(rankings)):
        runs += [Run(which, size, removed) for removed in (False, True) for size in SIZES]
    none, whole, *values = finished(targets(opened, task.others, list(rankings.values()), runs, task.aligned))
    count = len(SIZES)
    parts = [values[first : first + count] for first in range(0, len(values), count)]
    return {
        name: curve(none, whole, kept, left)
        for name, kept, left in zip(rankings, parts[::2], parts[1::2], strict=True)
    }
