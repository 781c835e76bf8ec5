"""A vector against a circuit, and against another vector.

A circuit's neurons write their down columns. They account for the share of |d|² of a direction d that lies in the span
of these columns (least squares). At `mlp_out` of a layer the columns are those of its own neurons, at `resid_post`
those of this layer and all below, whose outputs the stream holds there. Any columns span something, and many span
everything, so random circuits with as many neurons in each layer serve as a control. At the neurons themselves the
columns are the coordinates.

A second test counts how many of the neurons that lie most along the direction of their layer are among the circuit's
strongest, and compares that with chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.agreement import Agreement, agreement
from sessions.circuits.circuit import Circuit
from sessions.circuits.comparing import attribution_by_unit
from sessions.directions.decomposing import unit_columns
from sessions.directions.findings import Aligned, LayerCosine, Span, TopOverlap
from sessions.directions.vector import Vector, cosine, length
from sessions.errors import ArtifactError, UsageError
from sessions.events import Progress, Steps
from sessions.model.parts import Anatomy
from sessions.model.units import Unit

#: How many random circuits the control averages over.
DRAWS = 5
#: A neuron lies along a direction of n numbers where its |cosine| is above this over √n, as 5 % of random ones do.
ALIGNED = 2.0
#: The part of a unit column outside the span of the others counts as rounding below this.
_NOTHING = 1e-6


def held_against(
    anatomy: Anatomy, circuit: Circuit, vector: Vector, cancel: Cancel | None = None
) -> Steps[tuple[tuple[Span, ...], Agreement | None]]:
    """How much of each of the vector's directions the circuit accounts for, and how well the |attribution| of its
    neurons in these layers agrees with their |cosine| to the direction.

    Raises:
        ArtifactError: one of them does not fit the model.
        UsageError: the circuit has no neuron in the vector's layers.
    """
    vector.check(anatomy)
    sums = _by_neuron(circuit)
    chosen = _by_layer(anatomy, sums)
    if not any(layer in chosen for layer in vector.layers):
        raise UsageError("the circuit has no neuron in the layers of the vector", "make the vector at other layers")
    draws = [_random(anatomy, chosen, seed) for seed in range(DRAWS)]
    spans = [_Spanned(anatomy, vector, neurons) for neurons in (chosen, *draws)]
    rows, pairs = [], []
    for number, layer in enumerate(vector.layers):
        yield Progress("comparing", number, len(vector.layers), "layers")
        if cancel is not None:
            cancel.look()
        shares = [span.upto(layer) for span in spans]
        cosines = _cosines(anatomy, vector, layer, chosen.get(layer, []))
        limit = ALIGNED / math.sqrt(len(vector.directions[layer]))
        rows.append(
            Span(
                layer=layer,
                neurons=spans[0].neurons,
                explained=shares[0],
                chance=sum(shares[1:]) / DRAWS,
                here=len(cosines),
                aligned=sum(abs(cosine) > limit for cosine in cosines),
            )
        )
        known = ((sums[layer, index], cosine) for index, cosine in zip(chosen.get(layer, []), cosines, strict=True))
        pairs += [(abs(attribution), abs(cosine)) for attribution, cosine in known if attribution is not None]
    return tuple(rows), agreement([a for a, _ in pairs], [c for _, c in pairs])


def overlap(
    anatomy: Anatomy, circuit: Circuit, vector: Vector, top: int, cancel: Cancel | None = None
) -> Steps[TopOverlap]:
    """Which of the neurons that lie most along a vector, at their own layer, are among the strongest of a circuit.

    By chance the number of them follows a hypergeometric distribution.
    """
    along: list[tuple[float, tuple[int, int]]] = []
    among = 0
    for number, layer in enumerate(vector.layers):
        yield Progress("comparing", number, len(vector.layers), "layers")
        if cancel is not None:
            cancel.look()
        width = anatomy.layers[layer].width
        among += width
        cosines = torch.tensor(_cosines(anatomy, vector, layer, range(width)))
        best = cosines.abs().topk(min(top, width)).indices.tolist()
        along += [(float(cosines[index]), (layer, index)) for index in best]
    along = sorted((pair for pair in along if pair[0]), key=lambda item: -abs(item[0]))[:top]
    lying = {site: value for value, site in along}
    strongest = list(_by_neuron(circuit).items())[:top]
    possible = sum(layer in vector.directions for (layer, _), _ in strongest)
    both = [Aligned(Unit(*site, None, attribution), lying[site]) for site, attribution in strongest if site in lying]
    return TopOverlap(
        top=top,
        along=len(along),
        among=among,
        strongest=len(strongest),
        both=len(both),
        expected=len(along) * possible / among,
        p=_at_least(len(both), among, possible, len(along)),
        neurons=tuple(both),
    )


def _at_least(count: int, among: int, marked: int, drawn: int) -> float:
    """The probability that at least `count` of those drawn are marked."""
    possible = range(max(count, drawn - (among - marked)), min(marked, drawn) + 1)
    logs = (_ways(marked, count) + _ways(among - marked, drawn - count) - _ways(among, drawn) for count in possible)
    return min(1.0, sum(map(math.exp, logs)))


def _ways(n: int, k: int) -> float:
    """The logarithm of the binomial coefficient n over k."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def beside(ours: Vector, theirs: Vector) -> tuple[LayerCosine, ...]:
    """The cosine of two vectors at each layer that both have.

    Raises:
        UsageError: they have no layer in common, or lie in different spaces.
    """
    if "neurons" in (ours.site, theirs.site) and ours.site != theirs.site:
        raise UsageError(
            f"one vector is at {ours.site} and the other at {theirs.site}: they have no common space",
            "make both at one site",
        )
    layers = [layer for layer in ours.layers if layer in theirs.directions]
    if not layers:
        raise UsageError("the two vectors have no layer in common", "vector NAME shows the layers of one")
    pairs = {layer: (ours.directions[layer], theirs.directions[layer]) for layer in layers}
    if any(len(a) != len(b) for a, b in pairs.values()):
        raise UsageError("the two vectors are of different widths", "they are of models of different shapes")
    return tuple(
        LayerCosine(layer=layer, cosine=cosine(a, b), norms=(length(a), length(b))) for layer, (a, b) in pairs.items()
    )


class _Spanned:
    """The share of a vector in the span of some neurons' columns, computed layer by layer from the lowest up."""

    def __init__(self, anatomy: Anatomy, vector: Vector, neurons: Mapping[int, Sequence[int]]) -> None:
        self._anatomy, self._vector, self._neurons = anatomy, vector, neurons
        self._basis = torch.zeros(0, anatomy.d_model, dtype=torch.float64)  # [rank, d_model], orthonormal
        self._below = 0
        self.neurons = 0
        """How many neurons the last share is about."""

    @torch.inference_mode()
    def upto(self, layer: int) -> float:
        """The share of the squared norm of the direction at `layer` that lies in their span."""
        direction = self._vector.directions[layer].double()
        whole = float(direction.square().sum()) or 1.0
        here = self._neurons.get(layer, ())
        if self._vector.site == "neurons":
            self.neurons = len(here)
            return float(direction[list(here)].square().sum()) / whole
        if self._vector.site == "mlp_out":
            self._basis, self.neurons, self._below = self._basis[:0], 0, layer
        end = layer if self._vector.site in ("resid_pre", "attn_out") else layer + 1  # where its own MLP comes after it
        for number in range(self._below, end):
            indices = self._neurons.get(number, ())
            if indices:
                self._basis = _extended(self._basis, unit_columns(self._anatomy, number, indices).cpu().double())
                self.neurons += len(indices)
        self._below = end
        return min(1.0, float((self._basis @ direction).square().sum()) / whole)


def _extended(basis: Tensor, columns: Tensor) -> Tensor:
    """An orthonormal basis, `[rank, d]`, of the span of `basis` and `columns`, `[n, d]`."""
    for _ in range(2):  # twice, against rounding
        columns = columns - columns @ basis.T @ basis
    left, sizes, _ = torch.linalg.svd(columns.T, full_matrices=False)
    return torch.cat([basis, left.T[sizes > _NOTHING]])


def _by_neuron(circuit: Circuit) -> dict[tuple[int, int], float | None]:
    """(layer, index) of the circuit's neurons → attribution. Heads write no fixed direction, and are left out."""
    sums = attribution_by_unit(circuit)
    return {(place.layer, place.number): value for place, value in sums.items() if place.kind == "neuron"}


def _by_layer(anatomy: Anatomy, sites: Mapping[tuple[int, int], float | None]) -> dict[int, list[int]]:
    by_layer: dict[int, list[int]] = {}
    for layer, index in sites:
        try:
            anatomy.check(layer, index)
        except UsageError as error:
            raise ArtifactError(
                f"the circuit has a neuron L{layer}/N{index} that this model lacks: {error.message}",
                "open the model it came from",
            ) from error
        by_layer.setdefault(layer, []).append(index)
    return by_layer


def _random(anatomy: Anatomy, like: Mapping[int, Sequence[int]], seed: int) -> dict[int, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: torch.randperm(anatomy.layers[layer].width, generator=generator)[: len(indices)].tolist()
        for layer, indices in sorted(like.items())
    }


@torch.inference_mode()
def _cosines(anatomy: Anatomy, vector: Vector, layer: int, indices: Sequence[int]) -> list[float]:
    """The cosines of the direction at a layer with some of the layer's neurons."""
    if not indices:
        return []
    direction = vector.directions[layer] / (vector.directions[layer].norm() or 1.0)
    if vector.site == "neurons":
        return direction[list(indices)].tolist()
    return (unit_columns(anatomy, layer, indices).cpu() @ direction).tolist()
