"""Which method finds the best circuits at every size: CPR and CMD on tasks of the field.

    python -m benchmarks.curves [--json] [--quick]

For each task of `benchmarks.tasks`, method and granularity (neurons, heads, both), all units of the model are ranked on
forty pairs and measured on forty others with other words: faithfulness from 0.1 % to all units, with the rest held at
their means by position. CPR is the area under that curve, CMD its distance from 1 (`sessions.circuits.faithfulness`).
With --quick, heads on one task and eight pairs of smollm2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.measuring import THREADS, Figure, Table, report, surroundings
from benchmarks.tasks import TASKS, pairs
from sessions.circuits.attribution import Reference
from sessions.circuits.cases import Case, resolve_targets
from sessions.circuits.discovery import AttributionOptions
from sessions.circuits.faithfulness import areas, drawn, faithfulness, sizes_of
from sessions.circuits.findings import CurveAreas
from sessions.circuits.methods import METHODS
from sessions.circuits.multi_prompt import attribute_prompts
from sessions.circuits.recording import means
from sessions.events import finished
from sessions.model.opening import OpenModel, open_model
from sessions.model.units import Kind, Unit
from sessions.store import Store

MODELS = ("smollm2", "gemma3-270m")
GRAINS: dict[str, tuple[Kind, ...]] = {"neurons": ("neuron",), "heads": ("head",), "both": ("neuron", "head")}
RANDOM = "random"
#: Passes of methods that take several.
STEPS = 5


def main() -> None:
    torch.set_num_threads(THREADS)
    quick = "--quick" in sys.argv
    rows: list[tuple[str | float, ...]] = []
    for name in MODELS[:1] if quick else MODELS:
        opened = finished(open_model(name, models=Store().models, dtype="float32", device="cpu"))
        for task in ("agreement",) if quick else TASKS:
            rows += measured(opened, task, ("heads",) if quick else tuple(GRAINS), 8 if quick else 40)
    report("curves", figures(rows), surroundings("float32", "cpu"), [table(rows)], ["--quick"])


def measured(opened: OpenModel, task: str, grains: Sequence[str], count: int) -> Iterator[tuple[str | float, ...]]:
    """The rows of one task: model, task, granularity, method, CPR and CMD."""
    found_on, others = (finished(resolve_targets(opened, pairs(task, split)[:count])) for split in ("discover", "test"))
    with TemporaryDirectory() as home:
        held = finished(means(opened, [case.ids for case in found_on], Path(home), aligned=True))
    for grain in grains:
        rankings = {
            name: ranking(opened, found_on, name, GRAINS[grain], held)
            for name, method in METHODS.items()
            if method.estimates
        }
        rankings[RANDOM] = drawn(opened.anatomy, next(iter(rankings.values())), 0)
        for name, units in rankings.items():
            found = curve_areas(opened, others, units, held)
            yield opened.info.name, task, grain, name, found.cpr, found.cmd


def ranking(
    opened: OpenModel, cases: Sequence[Case], name: str, kinds: tuple[Kind, ...], held: Reference
) -> tuple[Unit, ...]:
    """All units of some kinds, by mean Σ|attribution| over the cases, against their means."""
    attention = METHODS[name].attention_by_default()
    how = AttributionOptions(name, attention, held, "mean", STEPS, kinds)
    return finished(attribute_prompts(opened, cases, how)).ranking()


def curve_areas(opened: OpenModel, cases: Sequence[Case], units: Sequence[Unit], held: Reference) -> CurveAreas:
    """CPR and CMD of a ranking of all units."""
    sizes = sizes_of(len(units))
    kept = finished(faithfulness(opened, cases, units, sizes, held)).circuit.kept
    found = areas([size / len(units) for size in sizes], kept, len(units))
    assert found is not None
    return found


def figures(rows: Sequence[tuple[str | float, ...]]) -> list[Figure]:
    """The CMD of each method on the first model, task and granularity, over that of a random ranking."""
    first = [row for row in rows if row[:3] == rows[0][:3]]
    cmd = {str(row[3]): float(row[5]) for row in first}
    return [
        Figure(f"CMD of {name} / of a random ranking, {rows[0][1]}, {rows[0][2]}", cmd[name] / cmd[RANDOM], 1.0, {})
        for name in cmd
        if name != RANDOM
    ]


def table(rows: Sequence[tuple[str | float, ...]]) -> Table:
    return Table("areas over all sizes", ("model", "task", "units", "method", "CPR", "CMD"), tuple(rows))


if __name__ == "__main__":
    main()
