"""Comparing two circuits: the neurons that they share, how strong these are, and how their attributions correlate.

Neurons are compared twice. At positions: whether two circuits do the same at the same places of one prompt. Without
positions, attributions summed over them: this also compares circuits of different prompts.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct, structs

from sessions.circuits.agreement import Agreement, agreement
from sessions.circuits.circuit import Circuit
from sessions.model.units import Place, Unit

#: Sizes at which the strongest neurons of both circuits are compared.
STRONGEST = (10, 50, 100)
#: How many neurons of each circuit are named as missing in the other.
NAMED = 10

K = TypeVar("K", bound=Hashable)


class Shared(Struct, frozen=True):
    """The sizes of the intersection and the union of two sets."""

    both: int
    either: int

    @property
    def jaccard(self) -> float:
        """The Jaccard index, 0 to 1; it is 1 for two empty sets."""
        return self.both / self.either if self.either else 1.0


class Overlap(Struct, frozen=True, kw_only=True):
    """The overlap of the `strongest` neurons of both circuits (None: all), with and without positions."""

    strongest: int | None
    placed: Shared
    anywhere: Shared


class Comparison(Struct, frozen=True, kw_only=True):
    """Two circuits side by side.

    `sizes` count neurons at positions, `distinct` neurons without. `held` is, for each circuit, the share of its
    |attribution| on neurons that the other has too; `ranks` is the agreement of the attributions of shared neurons.
    Both are None where attributions are unknown. `only` names the strongest neurons that the other circuit lacks.
    """

    sizes: tuple[int, int]
    distinct: tuple[int, int]
    overlaps: tuple[Overlap, ...]
    held: tuple[float | None, float | None]
    ranks: Agreement | None
    only: tuple[tuple[Unit, ...], tuple[Unit, ...]]


def compared(ours: Circuit, theirs: Circuit, top: int | None = None) -> Comparison:
    """Compare two circuits of one model, in full and by their strongest neurons: `STRONGEST` or, if given, `top`."""
    placed = [neuron.place for neuron in ours.neurons], [neuron.place for neuron in theirs.neurons]
    sums = attribution_by_unit(ours), attribution_by_unit(theirs)
    anywhere = list(sums[0]), list(sums[1])
    largest = max(map(len, anywhere))
    sizes = (None, *(count for count in ((top,) if top else STRONGEST) if count < largest))
    shared = [site for site in anywhere[0] if site in sums[1]]
    return Comparison(
        sizes=(len(ours), len(theirs)),
        distinct=(len(anywhere[0]), len(anywhere[1])),
        overlaps=tuple(
            Overlap(strongest=size, placed=_shared(*placed, size), anywhere=_shared(*anywhere, size)) for size in sizes
        ),
        held=(_held(sums[0], sums[1]), _held(sums[1], sums[0])),
        ranks=_agreed([(sums[0][site], sums[1][site]) for site in shared]),
        only=(_only(sums[0], sums[1]), _only(sums[1], sums[0])),
    )


def attribution_by_unit(circuit: Circuit) -> dict[Place, float | None]:
    """Each unit without its position → attribution summed over positions, the largest in size first; None where
    unknown."""
    sums: dict[Place, float | None] = {}
    for unit in circuit.neurons:
        before, more = sums.get(unit.anywhere, 0.0), unit.attribution
        sums[unit.anywhere] = None if before is None or more is None else before + more
    return dict(sorted(sums.items(), key=lambda item: -abs(item[1] or 0.0)))


def _shared(ours: Sequence[K], theirs: Sequence[K], strongest: int | None) -> Shared:
    a, b = set(ours[:strongest]), set(theirs[:strongest])
    return Shared(len(a & b), len(a | b))


def _held(ours: Mapping[K, float | None], theirs: Mapping[K, float | None]) -> float | None:
    known = {key: abs(value) for key, value in ours.items() if value is not None}
    whole = sum(known.values())
    return sum(value for key, value in known.items() if key in theirs) / whole if whole else None


def _agreed(pairs: Sequence[tuple[float | None, float | None]]) -> Agreement | None:
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return agreement([a for a, _ in known], [b for _, b in known])


def _only(ours: Mapping[Place, float | None], theirs: Mapping[Place, float | None]) -> tuple[Unit, ...]:
    missing = [(place, value) for place, value in ours.items() if place not in theirs]
    return tuple(structs.replace(Unit.at(place), attribution=value) for place, value in missing[:NAMED])
