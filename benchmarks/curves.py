"""Which method finds the best circuits at every size: CPR and CMD on tasks of the field.

    python -m benchmarks.curves [--json] [--quick] [--pairs N] [--keep FILE]

For each task of `benchmarks.tasks`, method with its attention rule, and granularity (heads, neurons, both), all units
of the model are ranked on forty pairs and measured on forty others with other words: faithfulness from 0.1 % to all
units, with the rest held at their means by position. CPR is the area under that curve, CMD its distance from 1
(`sessions.circuits.faithfulness`).
With --quick, heads on one task and eight pairs of smollm2.

The whole takes hours on a CPU. With --keep, each measured row is added to a file of JSON lines, and a run that is
started again goes on after the last.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.measuring import THREADS, Figure, Table, report, surroundings
from benchmarks.tasks import TASKS, pairs
from sessions.circuits.ablation_runs import NONE, WHOLE, AblationRun
from sessions.circuits.attribution import Reference
from sessions.circuits.cases import Case, resolve_targets
from sessions.circuits.discovery import AttributionOptions
from sessions.circuits.faithfulness import areas, curve, drawn, sizes_of, targets
from sessions.circuits.findings import CurveAreas
from sessions.circuits.methods import METHODS
from sessions.circuits.multi_prompt import attribute_prompts
from sessions.circuits.recording import means
from sessions.events import finished
from sessions.model.opening import OpenModel, open_model
from sessions.model.units import Kind, Unit
from sessions.store import Store

MODELS = ("smollm2", "gemma3-270m")
GRAINS: dict[str, tuple[Kind, ...]] = {"heads": ("head",), "neurons": ("neuron",), "both": ("neuron", "head")}
#: What ranks: methods with their attention rule.
RANKINGS: dict[str, tuple[str, str]] = {
    f"{name}, {attention} attention" if len(method.attentions) > 1 and method.by_setting else name: (name, attention)
    for name, method in METHODS.items()
    if method.estimates
    for attention in (method.attentions if method.by_setting else (method.attention_by_default(),))
}
RANDOM = "random"
#: Passes of methods that take several.
STEPS = 5


Row = tuple[str | float, ...]
"""Model, task, granularity, method, CPR, CMD."""


def main() -> None:
    torch.set_num_threads(THREADS)
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--keep", type=Path)
    options, sys.argv[1:] = parser.parse_known_args()
    quick = "--quick" in sys.argv
    count = 8 if quick else options.pairs
    rows = kept(options.keep)
    for grain in ("heads",) if quick else GRAINS:
        for name in MODELS[:1] if quick else MODELS:
            opened = finished(open_model(name, models=Store().models, dtype="float32", device="cpu"))
            for task in ("agreement",) if quick else TASKS:
                known = {row[3] for row in rows if row[:3] == (name, task, grain)}
                missing = [ranked for ranked in (*RANKINGS, RANDOM) if ranked not in known]
                new = [(name, task, grain, *found) for found in measured(opened, task, grain, count, missing)]
                rows += new
                keep(options.keep, new)
    about = surroundings("float32", "cpu") | {"pairs": f"{count} + {count}"}
    report("curves", figures(rows), about, [table(rows)], ["--quick"])


def kept(file: Path | None) -> list[Row]:
    """The rows that an earlier run has measured."""
    if file is None or not file.exists():
        return []
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


def keep(file: Path | None, rows: Sequence[Row]) -> None:
    if file is not None:
        with file.open("a") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows)


def measured(
    opened: OpenModel, task: str, grain: str, count: int, names: Sequence[str]
) -> Iterator[tuple[str, float, float]]:
    """Some rankings, with their CPR and CMD on one task at one granularity."""
    if not names:
        return
    found_on, others = (finished(resolve_targets(opened, pairs(task, split)[:count])) for split in ("discover", "test"))
    with TemporaryDirectory() as home:
        held = finished(means(opened, [case.ids for case in found_on], Path(home), aligned=True))
    chosen = [name for name in names if name != RANDOM] or list(RANKINGS)[:1]
    rankings = {name: ranking(opened, found_on, *RANKINGS[name], GRAINS[grain], held) for name in chosen}
    if RANDOM in names:
        rankings[RANDOM] = drawn(opened.anatomy, next(iter(rankings.values())), 0)
    for name, found in zip(rankings, curve_areas(opened, others, list(rankings.values()), held), strict=True):
        if name in names:
            yield name, found.cpr, found.cmd


def ranking(
    opened: OpenModel, cases: Sequence[Case], method: str, attention: str, kinds: tuple[Kind, ...], held: Reference
) -> tuple[Unit, ...]:
    """All units of some kinds, by mean Σ|attribution| over the cases, against their means."""
    how = AttributionOptions(method, attention, held, "mean", STEPS, kinds)
    return finished(attribute_prompts(opened, cases, how)).ranking()


def curve_areas(
    opened: OpenModel, cases: Sequence[Case], rankings: Sequence[Sequence[Unit]], held: Reference
) -> Iterator[CurveAreas]:
    """CPR and CMD of some rankings of all units. Only what circuits keep is measured, not what is left without them."""
    sizes = sizes_of(len(rankings[0]))
    runs = [AblationRun(which, size) for which in range(len(rankings)) for size in sizes[:-1]]
    none, whole, *values = finished(targets(opened, cases, rankings, [NONE, WHOLE, *runs], held))
    for which in range(len(rankings)):
        kept = [*values[which * (len(sizes) - 1) :][: len(sizes) - 1], whole]
        found = areas([size / len(rankings[0]) for size in sizes], curve(none, whole, kept, ()).kept, sizes[-1])
        assert found is not None
        yield found


def figures(rows: Sequence[Row]) -> list[Figure]:
    """The CMD of each method on the first model, task and granularity, over that of a random ranking."""
    first = [row for row in rows if row[:3] == rows[0][:3]]
    cmd = {str(row[3]): float(row[5]) for row in first}
    return [
        Figure(f"CMD of {name} / of a random ranking, {rows[0][1]}, {rows[0][2]}", cmd[name] / cmd[RANDOM], 1.0, {})
        for name in cmd
        if name != RANDOM
    ]


def table(rows: Sequence[Row]) -> Table:
    return Table("areas over all sizes", ("model", "task", "units", "method", "CPR", "CMD"), tuple(rows))


if __name__ == "__main__":
    main()
