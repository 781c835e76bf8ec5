"""Cutting: a forward pass of the linearised network in which no unit depends on another, and its gradients.

This is the machinery of `edges`, which explains its purpose. The output of each MLP is a leaf of the graph, so no
gradient flows back through it. In a dense layer the leaf is the output of the down projection at the positions of its
sources; in a mixture of experts, whose outputs are mixed at once, it is the neurons themselves. Where heads are among
the units, so is the input of each attention's output projection: no gradient flows back through attention either. The
inputs of the targets' MLPs and attentions are recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.rules import behind_the_head, half, linearised, takes_half
from sessions.memory import in_parts
from sessions.model.hooks import after, before, on_neurons, together, watched_back
from sessions.model.logits import value_of
from sessions.model.opening import OpenModel
from sessions.model.sites import DenseSite, ExpertSite, HeadSite, NeuronSite
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.model.weights import dense_columns


@dataclass(frozen=True)
class Spot:
    """A unit and its row and column in the activations of its site. The row is None where the token was not sent to
    the neuron's expert: nothing was computed there, and all its edges are 0. `slopes` is the gradient of the circuit's
    target with respect to a head's slice, `[d_head]`."""

    neuron: Unit
    row: int | None = None
    column: int = 0
    slopes: Tensor | None = None

    @property
    def activation(self) -> float:
        return self.neuron.activation or 0.0

    @property
    def position(self) -> int:
        assert self.neuron.position is not None
        return self.neuron.position

    @property
    def gradient(self) -> float:
        """The gradient of the circuit's target with respect to it; it does not matter where the activation is 0."""
        return (self.neuron.attribution or 0.0) / self.activation if self.activation else 0.0


@dataclass(frozen=True)
class _Written:
    """Sources of a dense site. The leaf is what the site writes at their positions, `[positions, d_model]`; `which` is
    the row of each source."""

    numbers: list[int]
    leaf: Tensor
    site: DenseSite
    spots: list[Spot]
    which: list[int]

    def edges(self, gradient: Tensor) -> Tensor:
        """The edges of all sources, `[rows, n]`, from gradients with respect to the leaf, `[rows, …]`."""
        columns = dense_columns(self.site, [spot.column for spot in self.spots]).to(gradient)
        return torch.einsum("rsd,sd->rs", gradient[:, self.which], columns) * _activations(self.spots, gradient)


@dataclass(frozen=True)
class _Expert:
    """Sources in experts, whose outputs are mixed at once: the leaf is the neurons, `[tokens · k, d_expert]`."""

    numbers: list[int]
    leaf: Tensor
    spots: list[Spot]

    def edges(self, gradient: Tensor) -> Tensor:
        """The edges of all sources, as for a dense site."""
        there = gradient[:, [spot.row for spot in self.spots], [spot.column for spot in self.spots]]
        return there * _activations(self.spots, gradient)


@dataclass(frozen=True)
class _Attended:
    """Source heads of one layer: the leaf is the input of the output projection, `[…, n_heads · d_head]`."""

    numbers: list[int]
    leaf: Tensor
    spots: list[Spot]
    site: HeadSite

    def edges(self, gradient: Tensor) -> Tensor:
        """The edges of all sources, as for a dense site."""
        shape = -1, self.site.n_heads, self.site.d_head
        place = [spot.row or 0 for spot in self.spots], [spot.column for spot in self.spots]
        there = gradient.reshape(len(gradient), *shape)[:, place[0], place[1]]
        return torch.einsum("rsd,sd->rs", there, self.leaf.detach().reshape(shape)[place])


def _activations(spots: Sequence[Spot], like: Tensor) -> Tensor:
    return like.new_tensor([spot.activation for spot in spots])


@dataclass(frozen=True)
class _Read:
    """The targets of one MLP: its input, `[…, d_model]`, and their shares, `[n]`, under the half rule."""

    numbers: list[int]
    positions: list[int]
    read: Tensor
    shares: Tensor

    def values(self, part: Sequence[int]) -> Tensor:
        """Some of the shares as functions of `read` alone, `[n]`: an MLP reads its own position, and nothing else."""
        (gradient,) = _vmapped(self.shares[part[0] : part[-1] + 1], [self.read])
        assert gradient is not None
        positions = self.positions[part[0] : part[-1] + 1]
        own = gradient.reshape(len(positions), -1, gradient.shape[-1])[range(len(positions)), positions]
        return (self.read.reshape(-1, own.shape[-1])[positions] * own).sum(-1)


@dataclass(frozen=True)
class _Looked:
    """The target heads of one layer: their shares, `[n]`, functions of what their values are computed from. That is the
    input of the layer or, where layers share values, of an earlier one."""

    numbers: list[int]
    shares: Tensor

    def values(self, part: Sequence[int]) -> Tensor:
        return self.shares[part[0] : part[-1] + 1]


class Cut:
    """One forward pass in which no unit depends on another, and the records that edges are computed from."""

    def __init__(
        self, opened: OpenModel, sources: Sequence[Spot], targets: Sequence[Spot], cancel: Cancel | None
    ) -> None:
        self.opened, self.sources, self.targets, self.cancel = opened, sources, targets, cancel
        self.written: list[_Written | _Expert | _Attended] = []
        self.read: list[_Read | _Looked] = []
        self.embedded: list[Tensor] = []
        self.hidden = self.scores = torch.empty(0)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Cut and record the forward pass inside the block."""
        anatomy = self.opened.anatomy
        sources, targets = self._by_site(self.sources), self._by_site(self.targets)
        hooks: list[Any] = [linearised(self.opened.model, anatomy, "frozen")]
        hooks += [after(embedding, self._embedding) for embedding in anatomy.embeddings]
        attends = any(spot.neuron.kind == "head" for spot in (*self.sources, *self.targets))
        for layer in anatomy.layers:
            hooks.append(before(layer.block, self._looking))
            if attends and layer.heads is not None:
                hooks.append(self._at_heads(layer.heads, sources[id(layer.heads)], targets[id(layer.heads)]))
            for site in layer.sites:
                hooks += self._at(site, sources[id(site)], targets[id(site)])
        hooks += [before(anatomy.head, self._entering), after(anatomy.head, self._leaving)]
        with together(hooks):
            yield

    def _by_site(self, spots: Sequence[Spot]) -> defaultdict[int, list[int]]:
        """Indices of the neurons that were computed, by the identity of their site."""
        numbers: defaultdict[int, list[int]] = defaultdict(list)
        for number, spot in enumerate(spots):
            if spot.row is not None:
                numbers[id(self.opened.anatomy.coordinates(spot.neuron)[0])].append(number)
        return numbers

    def _embedding(self, _: Tensor, output: Tensor) -> Tensor:
        self.embedded.append(output.requires_grad_())
        return output

    def _looking(self, hidden: Tensor) -> Tensor:
        watched_back(hidden, self.cancel)  # the backward pass takes longest
        return hidden

    def _entering(self, hidden: Tensor) -> Tensor:
        self.hidden = hidden
        return hidden

    def _leaving(self, _: Tensor, output: Tensor) -> Tensor:
        self.scores = output
        return output

    def _at(self, site: NeuronSite, sources: list[int], targets: list[int]) -> Iterator[Any]:
        """The hooks of one site: on its input, its neurons and its output."""
        read: list[Tensor] = []
        spots = [self.sources[number] for number in sources]

        def reading(hidden: Tensor) -> Tensor:
            read[:] = [hidden]
            return hidden

        def cut(activations: Tensor, _: Any) -> Tensor:
            if targets:
                self._share(site, activations, targets, read[0])
            leaf = activations.detach()
            if spots and isinstance(site, ExpertSite):
                self.written.append(_Expert(sources, leaf.requires_grad_(), spots))
            return leaf

        def writing(_: Tensor, output: Tensor) -> Tensor:
            assert isinstance(site, DenseSite)
            rows = sorted({spot.row or 0 for spot in spots})
            flat = output.detach().reshape(-1, output.shape[-1])
            leaf = flat[rows].requires_grad_()
            which = [rows.index(spot.row or 0) for spot in spots]
            self.written.append(_Written(sources, leaf, site, spots, which))
            return flat.index_copy(0, torch.tensor(rows, device=flat.device), leaf).view_as(output)

        if targets:
            yield before(site.readers[0][1] if isinstance(site, DenseSite) else site.experts, reading)
        yield on_neurons(site, cut)
        if spots and isinstance(site, DenseSite):
            yield after(site.down, writing)

    def _at_heads(self, site: HeadSite, sources: list[int], targets: list[int]) -> Any:
        """The hook of one layer's heads, on the input of the output projection."""

        def cut(activations: Tensor, _: Any) -> Tensor:
            if targets:
                spots = [self.targets[number] for number in targets]
                slopes = torch.stack([spot.slopes for spot in spots if spot.slopes is not None])
                slices = activations.reshape(-1, site.n_heads, site.d_head)
                here = slices[[spot.row or 0 for spot in spots], [spot.column for spot in spots]]
                self.read.append(_Looked(targets, (here * slopes.to(here)).sum(-1)))
            leaf = activations.detach()
            if sources:
                spots = [self.sources[number] for number in sources]
                self.written.append(_Attended(sources, leaf.requires_grad_(), spots, site))
            return leaf

        return on_neurons(site, cut)

    def _share(self, site: NeuronSite, activations: Tensor, targets: list[int], read: Tensor) -> None:
        spots = [self.targets[number] for number in targets]
        flat = activations.reshape(-1, activations.shape[-1])
        here = flat[[spot.row for spot in spots], [spot.column for spot in spots]]
        if takes_half(site):
            here = half(here)
        shares = here * here.new_tensor([spot.gradient for spot in spots])
        self.read.append(_Read(targets, [spot.position for spot in spots], read, shares))


@dataclass(frozen=True)
class GradientShare:
    """The scalar whose gradient is row `number` of the edges."""

    number: int
    value: Tensor


@torch.enable_grad()
def shares_of(cut: Cut, logits: Tensor, target: Target, rows: int) -> list[GradientShare]:
    """The shares of all targets as functions of what they read, lower layers first, then that of the output; `rows`
    at a time. `logits` are those that the cut pass returned."""
    shares: list[GradientShare] = []
    for tap in cut.read:
        places = range(len(tap.numbers))
        parts = (places[first : first + rows] for first in range(0, len(places), rows))
        for part, values in in_parts(parts, tap.values):
            shares += map(GradientShare, (tap.numbers[place] for place in part), values.unbind())
    value = value_of(target, behind_the_head(cut.scores, logits).flatten(0, 1).float())
    (gradient,) = torch.autograd.grad(value, cut.hidden)
    return [*shares, GradientShare(len(cut.targets), (cut.hidden * gradient).sum())]


def edges_into(cut: Cut, shares: Sequence[GradientShare]) -> tuple[Tensor, Tensor]:
    """Edges of all sources into some targets, `[rows, sources]`, and the part from the embeddings, `[rows]`."""
    with torch.enable_grad():
        home = shares[-1].value.device  # layers may be spread over several devices
        stacked = torch.stack([share.value.to(home) for share in shares])
    gradients = _vmapped(stacked, [*(tap.leaf for tap in cut.written), *cut.embedded])
    weights, embeddings = torch.zeros(len(shares), len(cut.sources)), torch.zeros(len(shares))
    with torch.no_grad():
        for tap, gradient in zip(cut.written, gradients, strict=False):
            if gradient is not None:  # else no target lies above it
                weights[:, tap.numbers] = tap.edges(gradient).float().cpu()
        for embedded, gradient in zip(cut.embedded, gradients[len(cut.written) :], strict=True):
            if gradient is not None:
                embeddings += (gradient.float() * embedded.float()).flatten(1).sum(1).cpu()
    return weights, embeddings


def _vmapped(outputs: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Gradients of each of `outputs`, `[n]`, with respect to `inputs`: `[n, …]` each, None where there is no path."""
    rows = torch.eye(len(outputs), dtype=outputs.dtype, device=outputs.device)
    return torch.autograd.grad(outputs, inputs, rows, is_grads_batched=True, retain_graph=True, allow_unused=True)
