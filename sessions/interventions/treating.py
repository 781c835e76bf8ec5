"""Treating: change chosen neurons while the model runs, each row of a batch its own way.

A neuron becomes a multiple of itself plus a constant. A multiplier of 0 ablates, 1 leaves, 2 doubles; 0 with a
constant holds the neuron at that value (its mean, or what it was in another text), 1 with a constant shifts it. A
neuron without a position is treated wherever it fires, in the prompt and in everything generated; one with a
position only there. Multipliers and constants are kept as one vector a layer and row, so a hook costs one
elementwise product, and a sum where there are constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sessions.circuits.circuit import Neuron
from sessions.model.hooks import Routing, on_neurons, together
from sessions.model.parts import Anatomy, ExpertSite, Site


@dataclass(frozen=True)
class Treatment:
    """What happens to one row of a batch: these neurons, times this factor, plus a constant each.

    `constants` has one number a neuron, or none at all where nothing is added.
    """

    neurons: tuple[Neuron, ...]
    multiplier: float
    constants: tuple[float, ...] = ()


@contextmanager
def treated(anatomy: Anatomy, rows: Sequence[Treatment]) -> Iterator[None]:
    """Inside the block, row r of every batch runs under `rows[r]`. A neuron named twice is treated once.

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
class _Affine:
    """`multiplier · h + constant`, elementwise; `constant` is None where it is 0 throughout."""

    multiplier: Tensor
    constant: Tensor | None

    def __call__(self, h: Tensor, *where: Any) -> Tensor:
        """`h` changed by the numbers at an index into these tensors."""
        changed = h * self.multiplier[where].to(h.dtype)
        return changed if self.constant is None else changed + self.constant[where].to(h.dtype)


@dataclass(frozen=True)
class _Plan:
    """The changes of one site for a batch of `rows`.

    `everywhere` is over `[rows, width]`, or None where all its neurons have positions. `pinned` is
    `[n, 3]`: row, position and neuron (within the site) of those that do; `there` is over `[n]`.
    Numbers have the dtype of the weights, so that casting them to the activations' is free unless
    the weights are quantised.
    """

    site: Site
    clock: _Clock
    rows: int
    everywhere: _Affine | None
    pinned: Tensor
    there: _Affine

    def apply(self, activations: Tensor, routing: Routing | None) -> Tensor:
        """The activations of one call, changed; the tensor handed in is left as it was."""
        if routing is None:
            return self._dense(activations)
        return self._routed(activations, routing)

    def _dense(self, activations: Tensor) -> Tensor:
        # Some families flatten batch and sequence before an MLP; rows are told apart again here.
        changed = activations.reshape(self.rows, -1, activations.shape[-1])
        if self.everywhere is not None:
            changed = self.everywhere(changed, slice(None), None)
        if self._pinned_now():
            row, position, neuron = self.pinned.T
            table = self.clock.table(self.rows, changed.shape[1], activations.device)
            which, column = (table[row] == position[:, None]).nonzero(as_tuple=True)
            changed = changed.clone()
            place = (row[which], column, neuron[which])
            changed[place] = self.there(changed[place], which)
        return changed.reshape(activations.shape)

    def _routed(self, activations: Tensor, routing: Routing) -> Tensor:
        assert isinstance(self.site, ExpertSite)
        lines = len(activations)
        row_of = torch.arange(lines, device=activations.device) * self.rows // lines
        if self.everywhere is not None:
            start = routing.experts * self.site.d_expert
            columns = start[:, None] + torch.arange(self.site.d_expert, device=activations.device)
            activations = self.everywhere(activations, row_of[:, None], columns)
        if self._pinned_now():
            row, position, neuron = self.pinned.T
            seq = lines // routing.per_token // self.rows
            table = self.clock.table(self.rows, seq, activations.device)
            position_of = table.reshape(-1).repeat_interleave(routing.per_token)
            expert, coordinate = neuron // self.site.d_expert, neuron % self.site.d_expert
            hit = (row_of == row[:, None]) & (position_of == position[:, None]) & (routing.experts == expert[:, None])
            which, line = hit.nonzero(as_tuple=True)
            activations = activations.clone()
            place = (line, coordinate[which])
            activations[place] = self.there(activations[place], which)
        return activations

    def _pinned_now(self) -> bool:
        return len(self.pinned) > 0 and self.clock.first <= int(self.pinned[:, 1].max())


#: (row, neuron within the site, multiplier, constant), and the same with a position after the row.
_Free = tuple[int, int, float, float]
_Fixed = tuple[int, int, int, float, float]


def _plans(anatomy: Anatomy, rows: Sequence[Treatment], clock: _Clock) -> Iterator[_Plan]:
    """One plan for each site that any row touches."""
    free: dict[int, list[_Free]] = {}
    fixed: dict[int, list[_Fixed]] = {}
    sites: dict[int, Site] = {}
    for row, treatment in enumerate(rows):
        everywhere = {neuron.site for neuron in treatment.neurons if neuron.position is None}
        for (layer, index, position), constant in _constants(treatment).items():
            site, local = anatomy.site_of(layer, index)
            sites[id(site)] = site
            if position is None:
                free.setdefault(id(site), []).append((row, local, treatment.multiplier, constant))
            elif (layer, index) not in everywhere:
                fixed.setdefault(id(site), []).append((row, position, local, treatment.multiplier, constant))
    for key, site in sites.items():
        yield _plan(site, clock, len(rows), free.get(key, []), fixed.get(key, []))


def _constants(treatment: Treatment) -> dict[tuple[int, int, int | None], float]:
    """What is added to each neuron, by place; of a neuron named twice, what was said first."""
    constants = treatment.constants or (0.0,) * len(treatment.neurons)
    pairs = zip(treatment.neurons, constants, strict=True)
    found: dict[tuple[int, int, int | None], float] = {}
    for neuron, constant in pairs:
        found.setdefault(neuron.place, constant)
    return found


def _plan(site: Site, clock: _Clock, rows: int, free: list[_Free], fixed: list[_Fixed]) -> _Plan:
    like = next((site.experts if isinstance(site, ExpertSite) else site.down).parameters())
    dtype = like.dtype if like.dtype.is_floating_point else torch.float32

    def numbers(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=like.device)

    everywhere = None
    if free:
        place = ([each[0] for each in free], [each[1] for each in free])
        multiplier = torch.ones(rows, site.width, dtype=dtype, device=like.device)
        multiplier[place] = numbers([each[2] for each in free])
        constant = None
        if any(each[3] for each in free):
            constant = torch.zeros_like(multiplier)
            constant[place] = numbers([each[3] for each in free])
        everywhere = _Affine(multiplier, constant)
    return _Plan(
        site=site,
        clock=clock,
        rows=rows,
        everywhere=everywhere,
        pinned=torch.tensor([each[:3] for each in fixed], dtype=torch.long, device=like.device).reshape(-1, 3),
        there=_Affine(
            numbers([each[3] for each in fixed]),
            numbers([each[4] for each in fixed]) if any(each[4] for each in fixed) else None,
        ),
    )
