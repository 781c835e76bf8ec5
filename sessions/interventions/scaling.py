"""Scaling: multiply chosen neurons by a factor while the model runs, each row of a batch its own way.

A multiplier of 0 ablates, 1 leaves, 2 doubles. A neuron without a position is scaled wherever it
fires, in the prompt and in everything generated; one with a position only there. The factors are
kept as one vector a layer and row, so a hook costs one elementwise product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sessions.circuits.circuit import Neuron
from sessions.model.anatomy import Anatomy, ExpertSite, Site
from sessions.model.hooks import Routing, on_neurons, together


@dataclass(frozen=True)
class Scaling:
    """What happens to one row of a batch: these neurons, times this factor."""

    neurons: tuple[Neuron, ...]
    multiplier: float


@contextmanager
def scaled(anatomy: Anatomy, rows: Sequence[Scaling]) -> Iterator[None]:
    """Inside the block, row r of every batch runs under `rows[r]`. A neuron named twice is scaled once.

    Raises:
        UsageError: a neuron that the model does not have.
    """
    clock = _Clock()
    hooks = [on_neurons(plan.site, plan.apply) for plan in _plans(anatomy, rows, clock)]
    with together([clock.running(anatomy.decoder), *hooks]):
        yield


class _Clock:
    """Which token positions the forward pass now running computes: `[rows or 1, seq]`."""

    def __init__(self) -> None:
        self.positions: Tensor | None = None
        self.first = 0

    @contextmanager
    def running(self, decoder: nn.Module) -> Iterator[None]:
        def read(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            given = kwargs.get("position_ids")
            self.positions = given if isinstance(given, Tensor) else None
            self.first = int(given.min()) if isinstance(given, Tensor) else 0

        handle = decoder.register_forward_pre_hook(read, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def table(self, rows: int, seq: int, device: torch.device) -> Tensor:
        """Position of each token of the running pass, `[rows, seq]`."""
        if self.positions is None:
            return torch.arange(seq, device=device).expand(rows, seq)
        return self.positions.to(device).expand(rows, seq)


@dataclass(frozen=True)
class _Plan:
    """The factors of one site for a batch of `rows`.

    `everywhere` is `[rows, width]`, or None where all its neurons have positions. `pinned` is
    `[n, 3]`: row, position and neuron (within the site) of those that do, with `factors`, `[n]`.
    Factors have the dtype of the weights, so that casting them to the activations' is free unless
    the weights are quantised.
    """

    site: Site
    clock: _Clock
    rows: int
    everywhere: Tensor | None
    pinned: Tensor
    factors: Tensor

    def apply(self, activations: Tensor, routing: Routing | None) -> Tensor:
        """The activations of one call, scaled; the tensor handed in is left as it was."""
        if routing is None:
            return self._dense(activations)
        return self._routed(activations, routing)

    def _dense(self, activations: Tensor) -> Tensor:
        # Some families flatten batch and sequence before an MLP; rows are told apart again here.
        scaled = activations.reshape(self.rows, -1, activations.shape[-1])
        if self.everywhere is not None:
            scaled = scaled * self.everywhere[:, None].to(scaled.dtype)
        if self._pinned_now():
            row, position, neuron = self.pinned.T
            table = self.clock.table(self.rows, scaled.shape[1], activations.device)
            which, column = (table[row] == position[:, None]).nonzero(as_tuple=True)
            scaled = scaled.clone()
            scaled[row[which], column, neuron[which]] *= self.factors[which].to(scaled.dtype)
        return scaled.reshape(activations.shape)

    def _routed(self, activations: Tensor, routing: Routing) -> Tensor:
        assert isinstance(self.site, ExpertSite)
        lines = len(activations)
        row_of = torch.arange(lines, device=activations.device) * self.rows // lines
        if self.everywhere is not None:
            factors = self.everywhere.view(self.rows, self.site.n_experts, self.site.d_expert).to(activations.dtype)
            activations = activations * factors[row_of, routing.experts]
        if self._pinned_now():
            row, position, neuron = self.pinned.T
            seq = lines // routing.per_token // self.rows
            table = self.clock.table(self.rows, seq, activations.device)
            position_of = table.reshape(-1).repeat_interleave(routing.per_token)
            expert, coordinate = neuron // self.site.d_expert, neuron % self.site.d_expert
            hit = (row_of == row[:, None]) & (position_of == position[:, None]) & (routing.experts == expert[:, None])
            which, line = hit.nonzero(as_tuple=True)
            activations = activations.clone()
            activations[line, coordinate[which]] *= self.factors[which].to(activations.dtype)
        return activations

    def _pinned_now(self) -> bool:
        return len(self.pinned) > 0 and self.clock.first <= int(self.pinned[:, 1].max())


def _plans(anatomy: Anatomy, rows: Sequence[Scaling], clock: _Clock) -> Iterator[_Plan]:
    """One plan for each site that any row touches."""
    free: dict[int, list[tuple[int, int, float]]] = {}
    fixed: dict[int, list[tuple[int, int, int, float]]] = {}
    sites: dict[int, Site] = {}
    for row, scaling in enumerate(rows):
        everywhere = {neuron.site for neuron in scaling.neurons if neuron.position is None}
        for layer, index, position in dict.fromkeys(neuron.place for neuron in scaling.neurons):
            site, local = anatomy.site_of(layer, index)
            sites[id(site)] = site
            if position is None:
                free.setdefault(id(site), []).append((row, local, scaling.multiplier))
            elif (layer, index) not in everywhere:
                fixed.setdefault(id(site), []).append((row, position, local, scaling.multiplier))
    for key, site in sites.items():
        yield _plan(site, clock, len(rows), free.get(key, []), fixed.get(key, []))


def _plan(
    site: Site,
    clock: _Clock,
    rows: int,
    free: list[tuple[int, int, float]],
    fixed: list[tuple[int, int, int, float]],
) -> _Plan:
    like = next((site.experts if isinstance(site, ExpertSite) else site.down).parameters())
    dtype = like.dtype if like.dtype.is_floating_point else torch.float32
    everywhere = None
    if free:
        row, neuron, factor = zip(*free, strict=True)
        everywhere = torch.ones(rows, site.width, dtype=dtype, device=like.device)
        everywhere[list(row), list(neuron)] = torch.tensor(factor, dtype=dtype, device=like.device)
    return _Plan(
        site=site,
        clock=clock,
        rows=rows,
        everywhere=everywhere,
        pinned=torch.tensor([place[:3] for place in fixed], dtype=torch.long, device=like.device).reshape(-1, 3),
        factors=torch.tensor([place[3] for place in fixed], dtype=dtype, device=like.device),
    )
