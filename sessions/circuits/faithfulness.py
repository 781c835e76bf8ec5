"""Faithfulness: how much of a behaviour a circuit keeps when everything else is ablated.

Let m(C) be the target, averaged over prompts, when the neurons of C are left as they are and every other neuron is held
at its mean (or at zero). M is the set of all neurons, ∅ the empty set:

    faithfulness   (m(C) − m(∅)) / (m(M) − m(∅))      what the circuit alone keeps: 1 all, 0 nothing, above 1 more
    completeness   (m(M∖C) − m(∅)) / (m(M) − m(∅))    what is left without the circuit: 0 is best

The definitions are those of Marks et al. (sparse feature circuits, 2024, after Wang et al., IOI, 2023). Miller et al.
(2024) measure how much they depend on what is ablated, to which value, and where. Here a mean is taken at each
position, counted from the end (`recording.means`): with one mean over all positions the network no longer reads the
text, and no circuit does anything in it. The first position is left as it is: it is an attention sink with activations
like no other position's, so no mean fits it.

1. A ranking, such as a circuit's neurons in their order, gives nested circuits: its first k for each size k.
2. A row of a batch is a prompt with one of these circuits kept, or removed. Rows are padded on the right. A batch is
   a piece (`model.pieces`); targets are added up in the order of the pieces.
3. A hook at every down projection ablates the neurons. Only the logits of the targets' tokens are computed.

A circuit may hold attention heads, as those of Wang et al. and of MIB (Mueller et al. 2025) do. The units that are held
are those of the kinds that the circuit has: of a circuit of heads all other heads, of a mixed one all other heads and
neurons.

The control is a ranking of random units of the same kind, each from the same layer as one of the circuit's: units of
some layers matter more than others, and a circuit should do better than its layers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from msgspec import structs

from sessions.cancel import Cancel
from sessions.circuits.ablation_runs import NONE, WHOLE, AblationRun, FaithfulnessJob, FaithfulnessPiece, Ranking
from sessions.circuits.attribution import Reference, refuse_experts
from sessions.circuits.cases import Case
from sessions.circuits.findings import CurveAreas
from sessions.events import Progress, Steps
from sessions.model import memory_needed
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.pieces import Engine, WorkingModel, one_by_one
from sessions.model.rows import at_once
from sessions.model.units import Place, Unit


@dataclass(frozen=True)
class FaithfulnessCurve:
    """Faithfulness (`kept`) and completeness (`left`) of nested circuits, one value for each size; None where holding
    all neurons does not change the target."""

    kept: tuple[float | None, ...]
    left: tuple[float | None, ...]


@dataclass(frozen=True)
class Measured:
    """The mean target with no neuron held (`whole`) and with all held (`none`), a circuit's curve, and the mean curve
    of random neurons, where some were drawn."""

    whole: float
    none: float
    circuit: FaithfulnessCurve
    control: FaithfulnessCurve | None


def faithfulness(
    opened: OpenModel,
    cases: Sequence[Case],
    ranking: Ranking,
    sizes: Sequence[int],
    constants: Reference | None,
    *,
    controls: int = 0,
    seed: int = 0,
    batch: int | None = None,
    cancel: Cancel | None = None,
    engine: Engine | None = None,
) -> Steps[Measured]:
    """Faithfulness and completeness of a ranking's first neurons, for each size.

    Args:
        constants: the values that units are held at, as in `targets`.
        controls: how many random rankings to draw, from `seed`.
        engine: as in `targets`.

    Raises: as `targets`.
    """
    rankings = [ranking, *(drawn(opened.anatomy, ranking, seed + draw) for draw in range(controls))]
    runs = [
        AblationRun(which, size, removed)
        for which in range(len(rankings))
        for removed in (False, True)
        for size in sizes
    ]
    none, whole, *values = yield from targets(
        opened, cases, rankings, [NONE, WHOLE, *runs], constants, batch=batch, cancel=cancel, engine=engine
    )
    parts = [values[first : first + len(sizes)] for first in range(0, len(values), len(sizes))]
    control = None
    if controls:
        control = curve(none, whole, _mean(parts[2::2]), _mean(parts[3::2]))
    return Measured(whole, none, curve(none, whole, parts[0], parts[1]), control)


def curve(none: float, whole: float, kept: Sequence[float], left: Sequence[float]) -> FaithfulnessCurve:
    """Targets as fractions of the distance from `none` to `whole`."""
    way = whole - none

    def fractions(values: Sequence[float]) -> tuple[float | None, ...]:
        return tuple((value - none) / way if way else None for value in values)

    return FaithfulnessCurve(fractions(kept), fractions(left))


#: The shares of all units at which the curve over all sizes is measured; the last is the whole model.
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def sizes_of(units: int) -> tuple[int, ...]:
    """The numbers of units at these shares of all, each once."""
    return tuple(dict.fromkeys(max(1, round(share * units)) for share in SHARES))


def areas(shares: Sequence[float], kept: Sequence[float | None], units: int) -> CurveAreas | None:
    """The areas of a curve at some shares of all `units`; None where f is undefined."""
    values = [value for value in kept if value is not None]
    if len(values) < len(shares):
        return None

    def area(heights: Sequence[float]) -> float:
        pairs = zip(shares, shares[1:], heights, heights[1:], strict=False)
        return sum((right - left) * (low + high) / 2 for left, right, low, high in pairs)

    return CurveAreas(cpr=area(values), cmd=area([abs(1 - value) for value in values]), units=units)


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def ranked(neurons: Sequence[Unit], length: int | None = None) -> tuple[Unit, ...]:
    """Neurons in their order as a ranking; a duplicate keeps its better rank.

    The ranking has positions if all neurons have them, counted from the end or in a prompt of `length` tokens.
    """
    anchored = [
        neuron if neuron.position is None or length is None else _from_end(neuron, length) for neuron in neurons
    ]
    if any(neuron.position is None or neuron.position >= 0 for neuron in anchored):
        anchored = [structs.replace(neuron, position=None) for neuron in anchored]
    first: dict[Place, Unit] = {}
    for neuron in anchored:
        first.setdefault(neuron.place, neuron)
    return tuple(first.values())


def _from_end(neuron: Unit, length: int) -> Unit:
    return structs.replace(neuron, position=(neuron.counted(length).position or 0) - length)


def drawn(anatomy: Anatomy, ranking: Ranking, seed: int) -> tuple[Unit, ...]:
    """A random ranking: for each neuron another of the same layer at the same position, without duplicates."""
    generator = torch.Generator().manual_seed(seed)
    left: dict[Place, list[int]] = {}
    others = []
    for unit in ranking:
        where = unit.place._replace(number=0)
        if where not in left:
            left[where] = torch.randperm(anatomy.counts(unit.kind)[unit.layer], generator=generator).tolist()
        others.append(Unit(unit.layer, left[where].pop(), unit.position, kind=unit.kind))
    return tuple(others)


def targets(
    opened: OpenModel,
    cases: Sequence[Case],
    rankings: Sequence[Ranking],
    runs: Sequence[AblationRun],
    constants: Reference | None,
    *,
    batch: int | None = None,
    cancel: Cancel | None = None,
    engine: Engine | None = None,
) -> Steps[tuple[float, ...]]:
    """The mean target of the cases in each run, in logits.

    Args:
        rankings: the rankings that `run.ranking` indexes; all with positions, or all without.
        constants: the values of held units, without positions or with ones counted from the end, or those in the
            corrupt prompt of each case (`CORRUPT`); None for zero.
            Positions further back than the first row take the first row.
        batch: tokens computed at once, padding included; by default as many as memory allows.
        engine: computes the batches; by default in this process, on `opened`.

    Raises:
        UsageError: a neuron that the model does not have.
        ModelError: a mixture of experts, whose neurons have no means; or a target's value is not finite.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    refuse_experts(opened.anatomy, "faithfulness")
    job = FaithfulnessJob(tuple(cases), tuple(map(tuple, rankings)), tuple(runs), constants)
    job.held(opened)  # raises for a unit that the model lacks
    sums = [0.0] * len(runs)
    corrupt = constants is not None and constants.corrupt
    needed = memory_needed.recording if corrupt else memory_needed.forward

    def take(piece: FaithfulnessPiece, values: list[float]) -> None:
        for (run, _), value in zip(piece.rows, values, strict=True):
            sums[run] += value

    yield from (engine or one_by_one(WorkingModel(opened, cancel)))(
        job,
        job.pieces(at_once(opened, batch, needed)),
        take,
        lambda done, _: Progress("faithfulness", done, len(runs) * len(cases), "runs"),
    )
    return tuple(total / len(cases) for total in sums)
