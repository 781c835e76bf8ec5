"""Edges: how much relevance flows directly from unit to unit.

The edge from neuron s to neuron t is a_s · ∂R_t/∂a_s: the activation of s times the gradient of t's share of the
circuit's target, in the linearised network of `rules.linearised` (LRP, frozen attention). Every MLP is cut, so that a
path from s to t runs through the residual stream, norms and attention values, and bypasses all other neurons. Direct
effects with the nonlinearities cut are those of circuit tracing (Ameisen et al. 2025); on MLP neurons, by relevance,
they are those of the Transluce circuits work (2025) and of RelP (Jafari et al. 2025).

Edges are signed and in the unit of the circuit's target, as attributions are. They are complete: the edges of *all*
neurons into t and the part from the embeddings sum to R_t, the attribution of t (up to biases). For this to hold, a
gated neuron's share is G_t · (gate · up) under the half rule, one half for each factor: R_t = G_t · a_t, where G_t is
the target's total gradient with respect to t (`attribution`), and gate and up receive the two halves of R_t. A source's
contribution to its down projection is not halved.

1. An attribution pass gives a and G of every neuron.
2. A second forward pass has the cuts (`cutting`): the output of each MLP is a leaf of its graph. It records the inputs
   of the targets' MLPs.
3. Each share is differentiated with respect to its MLP's input at its own position, the only one that an MLP reads:
   R_t = c_t · x_t. This takes one vmapped pass for each layer that has targets, through its MLP alone.
4. All targets, and the output as one more, are propagated from there to the MLPs' outputs and to the embeddings in one
   vmapped backward pass, which passes through no MLP.
5. With g, the gradient with respect to what the MLP of s writes at the position of s, the edge is
   a_s · (down column of s) · g; a head's is its slice times the gradient with respect to it.

Where heads are among the units, attention is cut like the MLPs, and no path runs through a head: the edges of all
neurons and all heads into a unit or the output, and the part from the embeddings, sum to its relevance. A head's share
is G_t · a_t over its slice, a function of the values at all positions that it looks at: its pattern is a constant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from msgspec import structs
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import Attribution
from sessions.circuits.circuit import Circuit
from sessions.circuits.cutting import Cut, Spot, edges_into, shares_of
from sessions.circuits.flow import Edge, Flow, gathered
from sessions.circuits.methods.relp import Relp
from sessions.circuits.verification import kept_of
from sessions.errors import ModelError, NotFinite, UsageError
from sessions.events import Progress, Steps
from sessions.memory import in_parts
from sessions.model.finite import locating
from sessions.model.hooks import watched
from sessions.model.logits import value_of
from sessions.model.opening import OpenModel
from sessions.model.sites import DenseSite
from sessions.model.target import Target
from sessions.model.tokens import last_positions
from sessions.model.units import NEURONS, Kind, Unit

#: The method whose attributions the edges decompose, with its first rule for attention.
BY = Relp()
#: Targets times tokens in one backward pass. It bounds memory: each is one gradient of the residual stream.
LARGEST_BATCH = 2048
#: Default number of neurons whose incoming edges are computed.
TARGETS = 30


@dataclass(frozen=True)
class Traced:
    """The edges between some neurons.

    `weights` is `[targets + 1, sources]` in float32: row r holds the edges into target r, the last row those into the
    output, which is the circuit's target itself, of this `value`. `relevance[r]` is the relevance that row r is a part
    of, `embeddings[r]` the part of it from the embeddings. `sources` and `targets` have the attributions and
    activations of this pass.
    """

    sources: tuple[Unit, ...]
    targets: tuple[Unit, ...]
    value: float
    weights: Tensor
    relevance: tuple[float, ...]
    embeddings: tuple[float, ...]

    @property
    def flow(self) -> Flow:
        return gathered(
            [neuron.place for neuron in self.sources],
            [*(neuron.place for neuron in self.targets), None],
            self.weights.tolist(),
            self.relevance,
            self.embeddings,
        )


def trace(
    opened: OpenModel,
    ids: Sequence[int],
    target: Target,
    sources: Sequence[Unit],
    targets: Sequence[Unit] | int = TARGETS,
    *,
    batch: int = LARGEST_BATCH,
    cancel: Cancel | None = None,
) -> Steps[Traced]:
    """The edges from each of `sources` into each of `targets` and into the output.

    Args:
        ids: the prompt; where the target is a sequence, followed by all its tokens but the last.
        target: the circuit's target, which is the output of the graph.
        sources: neurons and heads with positions, counted from 0.
        targets: units likewise, or how many of the sources, those with the largest |attribution|.
        batch: targets times tokens in one backward pass.

    Raises:
        UsageError: a neuron that the model or the prompt does not have, or one without a position.
        ModelError: the family is out of reach of the rules, or an edge is not finite.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    named = list(sources) if isinstance(targets, int) else [*sources, *targets]
    _check(opened, ids, named)
    prompt = torch.tensor([list(ids)], device=opened.device)
    kept = kept_of(target)
    yield Progress("attributing")
    with locating(opened, [ids]):
        attribution = attribute(
            opened.model,
            opened.anatomy,
            prompt,
            lambda logits: value_of(target, logits),
            kept=kept,
            kinds=("neuron", "head") if any(unit.kind == "head" for unit in named) else NEURONS,
            cancel=cancel,
        )
    spots = _spots(attribution, sources)
    into = _strongest(spots, targets) if isinstance(targets, int) else _spots(attribution, targets)
    cut = Cut(opened, spots, into, cancel)
    value = attribution.value
    del attribution  # it holds the relevance of every neuron, and its memory is needed
    with torch.enable_grad(), watched(opened.anatomy, cancel), cut.recording():
        out = opened.model(input_ids=prompt, use_cache=False, logits_to_keep=last_positions(kept, prompt))
    yield Progress("tracing edges", 0, len(into), "targets")
    rows = max(1, batch // len(ids))
    shares = shares_of(cut, out.logits, target, rows)
    weights = torch.zeros(len(into) + 1, len(spots))
    embeddings = torch.zeros(len(into) + 1)
    parts, done = (shares[first : first + rows] for first in range(0, len(shares), rows)), 0
    for part, found in in_parts(parts, partial(edges_into, cut)):
        numbers = torch.tensor([share.number for share in part])
        weights[numbers], embeddings[numbers] = found
        done += len(part)
        yield Progress("tracing edges", min(done, len(into)), len(into), "targets")
    _refuse_infinite(opened, weights)
    return Traced(
        sources=tuple(spot.neuron for spot in spots),
        targets=tuple(spot.neuron for spot in into),
        value=value,
        weights=weights,
        relevance=(*(spot.neuron.attribution or 0.0 for spot in into), float(shares[-1].value.detach())),
        embeddings=tuple(embeddings.tolist()),
    )


def edges_of(
    opened: OpenModel,
    ids: Sequence[int],
    circuit: Circuit,
    neuron: Unit,
    *,
    targets: int = TARGETS,
    cancel: Cancel | None = None,
) -> Steps[tuple[tuple[Edge, ...], tuple[Edge, ...]]]:
    """The edges into one neuron from a circuit's neurons, and out of it to them and to the output; strongest first.

    The neuron has a position and need not be in the circuit. It can reach neurons in layers above, at its position or
    later; edges go to the `targets` strongest of them.

    Raises:
        UsageError, ModelError, Cancelled: as `trace`; or the circuit has no edges (`check_circuit`).
    """
    check_circuit(circuit)
    _check(opened, ids, [neuron])
    others = [other for other in circuit.neurons if other.place != neuron.place]
    above = [other for other in others if other.layer > neuron.layer and _at(other) >= _at(neuron)]
    traced = yield from trace(opened, ids, circuit.target, [neuron, *others], [neuron, *above[:targets]], cancel=cancel)
    flow = traced.flow
    incoming = tuple(edge for edge in flow.edges if edge.target == neuron.place)
    outgoing = [edge for edge in (*flow.edges, *flow.outputs) if edge.source == neuron.place]
    return incoming, tuple(sorted(outgoing, key=lambda edge: -abs(edge.weight)))


def divides(circuit: Circuit) -> bool:
    """Whether edges decompose the circuit's own attributions."""
    return (circuit.method, circuit.attention) == (BY.name, BY.attentions[0])


def check_circuit(circuit: Circuit) -> None:
    """Raise `UsageError` for a circuit that was not found on one prompt for one target, and so has no edges."""
    if circuit.prompts:
        raise UsageError(
            f"the circuit was found on {len(circuit.prompts):,} prompts, and edges run within one",
            "find the circuit of this prompt: discover",
        )
    if any(neuron.position is None for neuron in circuit.neurons):
        raise UsageError(
            "the circuit's neurons have no positions, and edges run from position to position",
            "find the circuit of this prompt: discover",
        )
    if not circuit.target.tokens or any(token.id < 0 for token in circuit.target.tokens):
        raise UsageError("the circuit does not say which tokens it explains", "discover one on this model")


def _at(neuron: Unit) -> int:
    assert neuron.position is not None
    return neuron.position


def _check(opened: OpenModel, ids: Sequence[int], neurons: Sequence[Unit]) -> None:
    anatomy = opened.anatomy
    BY.check_model(anatomy)
    for neuron in neurons:
        site, _ = anatomy.coordinates(neuron)
        if neuron.position is None or not 0 <= neuron.position < len(ids):
            where = "has no position" if neuron.position is None else "is not in the prompt"
            raise UsageError(
                f"{neuron} {where}, and an edge begins and ends at one", f"positions are 0 to {len(ids) - 1}"
            )
        if isinstance(site, DenseSite) and not site.readers:
            raise ModelError(
                f"edges are not available on this model: it is not known what the MLP of layer {neuron.layer} reads",
                "discover and verify work on it",
            )


def _refuse_infinite(opened: OpenModel, weights: Tensor) -> None:
    if not weights.isfinite().all():
        raise NotFinite(f"an edge is not finite in {opened.info.dtype}", "open the model with --dtype float32")


def _spots(attribution: Attribution, neurons: Sequence[Unit]) -> list[Spot]:
    """The units with their rows and columns, activations and attributions."""
    spots = [Spot(structs.replace(neuron, attribution=0.0, activation=0.0)) for neuron in neurons]
    of_layer: defaultdict[tuple[int, Kind], list[int]] = defaultdict(list)
    for number, neuron in enumerate(neurons):
        of_layer[neuron.layer, neuron.kind].append(number)
    for site in attribution.sites:
        numbers = of_layer[site.layer, site.kind]
        first, width = site.offsets[:, None], site.relevance.shape[1]
        positions = site.positions.new_tensor([_at(neurons[number]) for number in numbers])
        indices = site.offsets.new_tensor([neurons[number].index for number in numbers])
        inside = (site.positions[:, None] == positions) & (first <= indices) & (indices < first + width)
        rows, which = inside.nonzero(as_tuple=True)
        columns = indices[which] - site.offsets[rows]
        relevance, activation = site.relevance[rows, columns].tolist(), site.activation[rows, columns].tolist()
        places = zip(which.tolist(), rows.tolist(), columns.tolist(), strict=True)
        for (place, row, column), share, value in zip(places, relevance, activation, strict=True):
            neuron = structs.replace(neurons[numbers[place]], attribution=share, activation=value)
            slopes = None if site.slopes is None else site.slopes[row, column]
            spots[numbers[place]] = Spot(neuron, row, column, slopes)
    return spots


def _strongest(spots: Sequence[Spot], count: int) -> list[Spot]:
    return sorted(spots, key=lambda spot: -abs(spot.neuron.attribution or 0.0))[:count]
