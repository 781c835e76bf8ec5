"""Many prompts: attribution over all of them, batch by batch, and the circuit that they share.

1. Prompts of similar length are attributed together, as padded rows of one forward and one backward pass
   (`attribution`).
2. In each prompt, a neuron's attribution is the sum over positions. Where prompts are aligned at their ends, positions
   are kept apart and counted from the last one, -1, as far back as all prompts reach. The first position is left out.
3. Where there is a threshold, an attribution below that share of a prompt's own target counts as 0 for that prompt.
4. Over prompts, attributions are aggregated to their mean or to the largest. Two more aggregates serve for ranking: in
   how many prompts the neuron reaches the threshold, and its magnitude, the mean over prompts of Σ |attribution| over
   positions.

A neuron that helps the target at one position and harms it at another has a sum near 0 although it matters. Ranked by
magnitude it counts, and small circuits keep more of the target (`benchmarks.methods`).

Memory does not grow with the number of prompts: each site keeps sums over prompts only. A batch is a piece
(`model.pieces`), and the sums of the batches are added up in float64 in the order of the batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from msgspec import structs
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.aggregation import RANKS, Aggregated, Aggregation, PromptSums
from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import STEPS, Attribution, Reference
from sessions.circuits.cases import Case
from sessions.circuits.circuit import Circuit
from sessions.circuits.discovery import USUAL, AttributionOptions, Discovery, Scope
from sessions.circuits.methods import DEFAULT
from sessions.circuits.pruning import CircuitSize, choose
from sessions.circuits.recording import corrupt_reference
from sessions.events import Progress, Steps
from sessions.memory import in_parts
from sessions.model import memory_needed
from sessions.model.finite import locating
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel
from sessions.model.pieces import Computing, Engine, WorkingModel, one_by_one
from sessions.model.rows import at_once, batches, padded_rows
from sessions.model.target import Target


def collapsed(
    opened: OpenModel,
    cases: Sequence[Case],
    *,
    method: str = DEFAULT,
    attention: str = "frozen",
    reference: Reference | None = None,
    steps: int = STEPS,
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[tuple[Tensor, ...]]:
    """Signed attribution of every neuron, summed over positions but the first, mean over prompts: `[width]` a site.

    Args:
        reference: one without positions or with ones counted from the end, or None for zero.
        batch: tokens computed at once, padding included; by default as many as memory allows.
    """
    how = AttributionOptions(method, attention, reference, steps=steps)
    gathered = yield from attribute_prompts(opened, cases, how, batch=batch, cancel=cancel)
    return tuple(values[0] for values in gathered.means)


def discover(
    opened: OpenModel,
    cases: Sequence[Case],
    *,
    choice: CircuitSize,
    scope: Scope | None = None,
    how: AttributionOptions = USUAL,
    gathering: Aggregation | None = None,
    batch: int | None = None,
    cancel: Cancel | None = None,
    engine: Engine | None = None,
) -> Steps[Discovery]:
    """The circuit that the prompts share, each with its own target.

    Args:
        how: its reference has no positions, or positions counted from the end.
        batch: tokens computed at once, padding included; by default as many as memory allows.
        engine: computes the batches; by default in this process, on `opened`.

    Raises:
        UsageError: nothing is left to choose.
        ModelError: the family is out of reach of the method, or the relevance of a prompt is not finite.
    """
    scope, gathering = scope or Scope(), gathering or Aggregation()
    gathered = yield from attribute_prompts(
        opened, cases, how, scope=scope, gathering=gathering, batch=batch, cancel=cancel, engine=engine
    )
    target = mean_target(cases)
    aggregated = gathered.candidates("mean" if gathering.aggregate in RANKS else gathering.aggregate)
    notes: tuple[str, ...] = ()
    ranked = choose(gathered.candidates(gathering.aggregate), choice, target.value)
    if gathering.aggregate == "share":
        first, last = (int((neuron.attribution or 0.0) * len(cases) + 0.01) for neuron in (ranked[0], ranked[-1]))
        notes = (f"the first neuron reaches the threshold in {first} of {len(cases)} prompts, the last in {last}",)
    neurons = ranked
    if gathering.aggregate in RANKS:
        neurons = tuple(structs.replace(neuron, attribution=gathered.mean_of(neuron)) for neuron in ranked)
    if not gathering.aligned:
        neurons = tuple(structs.replace(neuron, position=None) for neuron in neurons)
    circuit = Circuit(
        neurons=neurons,
        prompt=Prompt(text=""),
        ids=(),
        tokens=(),
        target=target,
        method=how.described,
        attention=how.attention,
        chosen=", ".join(filter(None, (str(choice), str(gathering)))),
        conservation=gathered.conservation,
        total=aggregated.total,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
        prompts=tuple(case.asked for case in cases),
    )
    return Discovery(circuit, aggregated.number, notes)


def mean_target(cases: Sequence[Case]) -> Target:
    """The mean of the prompts' targets; it has tokens if all prompts have the same ones."""
    first, count = cases[0].target, len(cases)
    if count == 1:
        return first
    value = sum(case.target.value for case in cases) / count
    if any(case.wanted != cases[0].wanted for case in cases):
        return Target(tokens=(), value=value, prompts=count)
    return structs.replace(first, value=value, prompts=count)


def attribute_prompts(
    opened: OpenModel,
    cases: Sequence[Case],
    how: AttributionOptions = USUAL,
    *,
    scope: Scope | None = None,
    gathering: Aggregation | None = None,
    batch: int | None = None,
    cancel: Cancel | None = None,
    engine: Engine | None = None,
) -> Steps[Aggregated]:
    """Attribute the targets of all prompts. Arguments and errors as in `discover`."""
    job = AttributionJob(tuple(cases), how, scope or Scope(), gathering or Aggregation())
    gathered = job.nothing(opened)
    yield from (engine or one_by_one(WorkingModel(opened, cancel)))(
        job,
        map(tuple, batches([len(case.ids) for case in cases], at_once(opened, batch, memory_needed.attributing))),
        lambda _, part: gathered.merge(part),
        lambda done, _: Progress("attributing", done, len(cases), "prompts"),
    )
    return gathered


@dataclass(frozen=True)
class AttributionJob:
    """The attribution of many prompts as pieces, each the numbers of some cases."""

    cases: tuple[Case, ...]
    how: AttributionOptions
    scope: Scope
    gathering: Aggregation

    def nothing(self, opened: OpenModel) -> Aggregated:
        """The aggregates of no prompt."""
        return Aggregated(opened.anatomy, self.cases, self.scope, self.gathering, self.how.kinds)

    def size(self, piece: tuple[int, ...]) -> float:
        return len(piece)

    def state(self, piece: tuple[int, ...]) -> None:
        return None

    def compute(self, model: WorkingModel, piece: tuple[int, ...]) -> Computing[PromptSums]:
        yield 0.0
        cases, part = [self.cases[number] for number in piece], self.nothing(model.opened)
        for some, found in in_parts([cases], lambda some: _attributed(model.opened, some, self.how, model.cancel)):
            part.add(some, found)
            del found  # the next prompts need its memory
        return part.sums()


def _attributed(
    opened: OpenModel, cases: Sequence[Case], how: AttributionOptions, cancel: Cancel | None
) -> Attribution:
    """One forward and one backward pass over padded prompts."""
    wanted = torch.tensor([case.wanted for case in cases])

    def measure(logits: Tensor) -> Tensor:
        pairs = logits.gather(1, wanted.to(logits.device))
        return (pairs[:, 0] - pairs[:, 1]).sum()

    texts = [case.ids for case in cases]
    names = [repr(case.asked.prompt) for case in cases]
    reference = how.reference
    if reference is not None and reference.corrupt:
        reference = corrupt_reference(opened, cases, cancel)
    with locating(opened, texts, names), padded_rows(opened, texts) as ids:
        return attribute(
            opened.model,
            opened.anatomy,
            ids,
            measure,
            method=how.method,
            attention=how.attention,
            reference=reference,
            steps=how.steps,
            lengths=[len(text) for text in texts],
            kinds=how.kinds,
            cancel=cancel,
        )
