"""Which method estimates effects best, and which finds the best circuits: the tables behind the defaults.

    python -m benchmarks.methods [--json] [--quick]

Two questions, on both embedded models and several tasks (`tests/data/prompts`, `commands/examples`). Each task has
prompts to find a circuit, and prompts with other words to measure it:

*single neurons*  How do attributions agree with the exact effect of each neuron alone, held at zero or at the mean that
                  the attribution is compared with? On the union of every method's strongest neurons and of random ones.
*circuits*        What do the first k neurons keep of the target when all others are held at their means, and what is
                  left when these alone are held (`sessions.circuits.faithfulness`)? Means are over the prompts for
                  finding circuits, so that the others are unseen before the measurement.

With --quick, the agreement task on smollm2 alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import torch
from msgspec import structs
from torch import Tensor

from benchmarks.measuring import THREADS, Figure, Table, report, surroundings
from sessions.circuits import discovery, multi_prompt
from sessions.circuits.ablation_runs import NONE, WHOLE, AblationRun
from sessions.circuits.aggregation import Aggregated
from sessions.circuits.agreement import Agreement, agreement
from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import Attribution, Reference, place_of
from sessions.circuits.cases import Case, resolve_targets
from sessions.circuits.faithfulness import FaithfulnessCurve, curve, drawn, targets
from sessions.circuits.recording import means
from sessions.circuits.rules import Attention
from sessions.circuits.verification import verify
from sessions.events import finished
from sessions.model.opening import OpenModel, open_model
from sessions.model.parts import Anatomy
from sessions.model.units import Unit
from sessions.store import Store
from sessions.texts.prompt_files import read_prompts

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "commands" / "examples", ROOT / "tests" / "data" / "prompts")
MODELS = ("smollm2", "gemma3-270m")
TASKS = ("agreement", "pronouns", "capitals")
SIZES = (10, 25, 50, 100, 200, 400)
#: Methods with their attention rules, and what they are compared with.
RULES: tuple[tuple[str, Attention], ...] = (
    ("relp", "frozen"),
    ("relp", "gradient"),
    ("atp", "gradient"),
    ("ig", "gradient"),
)
#: Zero; the mean of each position, counted from the end; and the mean over all positions alike.
ZERO, MEAN, FLAT = REFERENCES = ("zero", "mean", "mean of all positions")
#: Passes of ig, as many as in EAP-IG.
STEPS = 5
#: Random circuits that are averaged.
CONTROLS = 2
#: Single neurons: prompts of each task, and neurons of each prompt: so many of each method, and so many at random.
SINGLE = 3
STRONGEST, RANDOM = 25, 50

Way = tuple[str, Attention, str]
WAYS: tuple[Way, ...] = (
    *((method, attention, reference) for method, attention in RULES for reference in (ZERO, MEAN)),
    ("relp", "frozen", FLAT),
)
DEFAULT: Way = ("relp", "frozen", MEAN)


@dataclass(frozen=True)
class Task:
    """Prompts to find circuits, others to measure them, and means over the first: per neuron, and per neuron and
    position."""

    name: str
    found_on: tuple[Case, ...]
    others: tuple[Case, ...]
    flat: Reference
    aligned: Reference

    def reference(self, word: str) -> Reference | None:
        """The reference for prompts."""
        if word == ZERO:
            return None
        return self.flat if word == FLAT else self.aligned


def main() -> None:
    torch.set_num_threads(THREADS)
    figures, tables = measured("--quick" in sys.argv)
    report("methods", figures, surroundings("float32", "cpu"), tables, ["--quick"])


def measured(quick: bool) -> tuple[list[Figure], list[Table]]:
    """The figures of the default, and all tables; `quick` is smollm2 on agreement alone."""
    if quick:
        return of_model("smollm2", TASKS[:1])
    with ProcessPoolExecutor(len(MODELS), get_context("spawn")) as pool:  # a thread and a process for each model
        parts = list(pool.map(of_model, MODELS, [TASKS] * len(MODELS)))
    return parts[0][0], [table for _, tables in parts for table in tables]


def of_model(name: str, names: Sequence[str]) -> tuple[list[Figure], list[Table]]:
    """The figures of the default on the first task, and the tables of one model."""
    torch.set_num_threads(THREADS)
    opened = finished(open_model(name, models=Store().models, dtype="float32", device="cpu"))
    tasks = [task(opened, each) for each in names]
    curves = [circuits(opened, each) for each in tasks]
    tables = [circuits_table(opened, each, found) for each, found in zip(tasks, curves, strict=True)]
    return bars(curves[0]), [single_neurons(opened, tasks), *tables]


def task(opened: OpenModel, name: str) -> Task:
    found_on, others = (cases(opened, f"{name}-{part}.jsonl") for part in ("discover", "test"))
    texts = [case.ids for case in found_on]
    with TemporaryDirectory() as home:
        flat, aligned = (finished(means(opened, texts, Path(home), aligned=each)) for each in (False, True))
    return Task(name, found_on, others, flat, aligned)


def cases(opened: OpenModel, file: str) -> tuple[Case, ...]:
    path = next(folder / file for folder in FOLDERS if (folder / file).exists())
    return finished(resolve_targets(opened, read_prompts(path.read_bytes(), file)))


# ---- circuits


def circuits(opened: OpenModel, task: Task) -> dict[str, FaithfulnessCurve]:
    """The faithfulness curves by name.

    Of each method, with neurons ranked by magnitude; of the default, also by the size of the mean and by how much
    neurons are for the target; and of random neurons.
    """
    gathered = {way: attributed(opened, task, way) for way in WAYS}
    found = {described(way): ranking(each.magnitudes) for way, each in gathered.items()}
    means = gathered[DEFAULT].means
    found[f"{described(DEFAULT)}, by the mean"] = ranking(means)
    found[f"{described(DEFAULT)}, helping first"] = ranking(means, signed=True)
    controls = {f"random {seed}": drawn(opened.anatomy, found[described(DEFAULT)], seed) for seed in range(CONTROLS)}
    curves = curves_of(opened, task, {**found, **controls})
    random = [curves.pop(name) for name in controls]
    return {
        **curves,
        "random": FaithfulnessCurve(_mean(each.kept for each in random), _mean(each.left for each in random)),
    }


def attributed(opened: OpenModel, task: Task, way: Way) -> Aggregated:
    """Attributions of the neurons, aggregated over the task's prompts."""
    method, attention, word = way
    how = discovery.AttributionOptions(method, attention, task.reference(word), steps=STEPS)
    return finished(multi_prompt.attribute_prompts(opened, task.found_on, how))


def ranking(values: Sequence[Tensor], signed: bool = False) -> tuple[Unit, ...]:
    """The strongest neurons of values `[1, width]` a site, by size or by how much each is for the target."""
    ends = torch.tensor([each.shape[1] for each in values]).cumsum(0)
    flat = torch.cat([each[0] for each in values])
    top = (flat if signed else flat.abs()).topk(SIZES[-1]).indices
    layers = torch.searchsorted(ends, top, right=True)
    starts = ends - torch.tensor([each.shape[1] for each in values])
    pairs = zip(layers.tolist(), (top - starts[layers]).tolist(), strict=True)
    return tuple(Unit(layer, index) for layer, index in pairs)


def curves_of(opened: OpenModel, task: Task, rankings: dict[str, tuple[Unit, ...]]) -> dict[str, FaithfulnessCurve]:
    runs = [NONE, WHOLE]
    for which in range(len(rankings)):
        runs += [AblationRun(which, size, removed) for removed in (False, True) for size in SIZES]
    none, whole, *values = finished(targets(opened, task.others, list(rankings.values()), runs, task.aligned))
    count = len(SIZES)
    parts = [values[first : first + count] for first in range(0, len(values), count)]
    return {
        name: curve(none, whole, kept, left) for name, kept, left in zip(rankings, parts[::2], parts[1::2], strict=True)
    }


def _mean(rows: Iterable[Sequence[float | None]]) -> tuple[float | None, ...]:
    return tuple(mean(each or 0.0 for each in column) for column in zip(*rows, strict=True))


def circuits_table(opened: OpenModel, task: Task, curves: dict[str, FaithfulnessCurve]) -> Table:
    whole = mean(case.target.value for case in task.others)
    return Table(
        f"circuits, {opened.info.name}, {task.name}: found on {len(task.found_on)} prompts, measured on "
        f"{len(task.others)} others, mean target {whole:.2f}",
        ("method", *(f"kept {size}" for size in SIZES), *(f"left {size}" for size in SIZES)),
        tuple((name, *_numbers(each.kept), *_numbers(each.left)) for name, each in curves.items()),
    )


def bars(curves: dict[str, FaithfulnessCurve]) -> list[Figure]:
    """The figures of the default, on agreement on smollm2."""
    default = curves[described(DEFAULT)]
    kept, left = dict(zip(SIZES, _numbers(default.kept), strict=True)), dict(zip(SIZES, default.left, strict=True))
    return [
        Figure("agreement: kept by at most 50 neurons", max(kept[size] for size in SIZES if size <= 50), 0.9, {}, True),
        Figure("agreement: left without the first 100", left[100] or 0.0, 0.15, {}),
    ]


def described(way: Way) -> str:
    method, attention, reference = way
    return f"{method}, {attention} attention, {reference}"


def _numbers(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(0.0 if value is None else value for value in values)


# ---- single neurons


def single_neurons(opened: OpenModel, tasks: Sequence[Task]) -> Table:
    """The agreement of each method with exact effects, as means over prompts."""
    found: dict[Way, list[Agreement]] = {way: [] for way in WAYS}
    for each in tasks:
        for case in each.found_on[:: len(each.found_on) // SINGLE][:SINGLE]:
            for way, agreed in agreements(opened, each, case):
                found[way].append(agreed)
    prompts = len(found[DEFAULT])
    return Table(
        f"single neurons, {opened.info.name}: agreement with exact effects, means over {prompts} prompts",
        ("method", "Pearson", "Spearman", "same sign"),
        tuple(
            (
                described(way),
                mean(agreed.pearson or 0.0 for agreed in each),
                mean(agreed.spearman or 0.0 for agreed in each),
                mean(agreed.same_sign for agreed in each),
            )
            for way, each in found.items()
        ),
    )


def agreements(opened: OpenModel, task: Task, case: Case) -> Iterator[tuple[Way, Agreement]]:
    """The agreement on one prompt of each method with the effects of neurons held at its reference."""
    ids = torch.tensor([case.ids])
    attributions = {}
    for way in WAYS:
        method, attention, word = way
        attributions[way] = attribute(
            opened.model,
            opened.anatomy,
            ids,
            lambda logits: logits[-1, case.wanted[0]] - logits[-1, case.wanted[1]],
            method=method,
            attention=attention,
            reference=task.reference(word),
            steps=STEPS,
        )
    neurons = candidates(opened.anatomy, attributions.values())
    for word in REFERENCES:
        reference = task.reference(word)
        from_end = [structs.replace(each, position=(each.position or 0) - len(case.ids)) for each in neurons]
        values = None if reference is None else [reference.at(opened.anatomy, neuron) for neuron in from_end]
        effects = finished(verify(opened, case.ids, neurons, case.target, values=values)).effects
        for way, attribution in attributions.items():
            if way[2] == word:
                agreed = agreement([at(opened.anatomy, attribution, neuron) for neuron in neurons], effects)
                assert agreed is not None
                yield way, agreed


def candidates(anatomy: Anatomy, attributions: Iterable[Attribution]) -> list[Unit]:
    """The strongest neurons of each attribution and some random ones, at positions other than the first."""
    found: dict[Unit, None] = {}
    for attribution in attributions:
        strengths = torch.cat([site.relevance[1:].abs().flatten() for site in attribution.sites])
        found.update(dict.fromkeys(_places(anatomy, strengths.topk(STRONGEST).indices, attribution)))
    generator = torch.Generator().manual_seed(0)
    drawn_at = torch.randint(len(strengths), (RANDOM,), generator=generator)
    found.update(dict.fromkeys(_places(anatomy, drawn_at, attribution)))
    return list(found)


def _places(anatomy: Anatomy, flat: Tensor, attribution: Attribution) -> Iterator[Unit]:
    sizes = torch.tensor([site.relevance[1:].numel() for site in attribution.sites])
    ends = sizes.cumsum(0)
    for place in flat.tolist():
        number = int(torch.searchsorted(ends, place, right=True))
        position, index = divmod(
            place - int(ends[number] - sizes[number]), attribution.sites[number].relevance.shape[1]
        )
        yield Unit(attribution.sites[number].layer, index, position + 1)


def at(anatomy: Anatomy, attribution: Attribution, neuron: Unit) -> float:
    place = place_of(anatomy, neuron)
    return float(attribution.sites[place.site].relevance[neuron.position or 0, place.first])


if __name__ == "__main__":
    main()
