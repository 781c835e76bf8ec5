"""Hooks that change chosen units while the model runs, each row of a batch in its own way.

`intervention` defines what an intervention is, and which parts of a text it can be limited to. Multipliers and
constants are one vector for each layer and row, so a hook costs one elementwise product, and a sum if there are
constants. `token_scopes` says at which tokens of the running pass a limited intervention is in force. At other tokens
the activations keep their bits.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sessions.interventions.intervention import SEGMENTS, Intervention, TokenScope, UnitConstant
from sessions.interventions.token_scopes import Extents, Force, TokenTracker
from sessions.model.homes import CPU, home_of
from sessions.model.hooks import Routing, on_neurons, together
from sessions.model.parts import Anatomy
from sessions.model.sites import ExpertSite, Site
from sessions.model.units import Place, Unit

#: The interventions on one row of a batch: one, or several that do not overlap (see `refuse_overlaps`).
Row = Intervention | Sequence[Intervention]
_NONE = torch.empty(0, dtype=torch.long)


@contextmanager
def intervening(anatomy: Anatomy, rows: Sequence[Row], extents: Extents | None = None) -> Iterator[TokenTracker]:
    """Inside the block, row r of every batch runs under `rows[r]`. A neuron named twice is changed once.

    Args:
        extents: of each row's text; needed if an intervention is limited to a region of it.

    Raises:
        UsageError: the model does not have one of the neurons.
    """
    listed = [(row,) if isinstance(row, Intervention) else row for row in rows]
    wheres = {treatment.where for row in listed for treatment in row}
    following = TokenTracker(extents, frozenset(where.marker for where in wheres if where.region in SEGMENTS))
    hooks = [on_neurons(plan.site, plan) for plan in _plans(anatomy, listed, following)]
    with together([following.running(anatomy), *hooks]):
        yield following


@dataclass(frozen=True)
class _Affine:
    """`multiplier · h + constant`, elementwise; `constant` is None if all of it is 0."""

    multiplier: Tensor
    constant: Tensor | None

    def __call__(self, h: Tensor, *where: Any) -> Tensor:
        """`h` changed by the multiplier and the constant at an index."""
        changed = h * self.multiplier[where].to(h.dtype)
        return changed if self.constant is None else changed + self.constant[where].to(h.dtype)


@dataclass(frozen=True)
class _Part:
    """The changes at one site in one part of the text.

    `everywhere` has the shape `[rows, width]`, and is None if all neurons have positions. `pinned` is `[n, 3]`, on the
    CPU: row, position and neuron (within the site) of those with positions; `there` has the shape `[n]`. Numbers have
    the dtype of the weights, so that no cast to the dtype of the activations is needed unless the weights are
    quantised.
    """

    where: TokenScope
    everywhere: _Affine | None
    pinned: Tensor
    there: _Affine
    last: int
    """The last position in `pinned`; -1 if it is empty."""


@dataclass(frozen=True)
class _Plan:
    """The changes at one site for a batch of `rows`."""

    site: Site
    following: TokenTracker
    rows: int
    parts: tuple[_Part, ...]

    def __call__(self, activations: Tensor, routing: Routing | None) -> Tensor:
        """The changed activations of one call; the input tensor is left as it is."""
        # Some families flatten batch and sequence before an MLP; rows are separated again here.
        seq = activations.numel() // activations.shape[-1] // self.rows // (routing.per_token if routing else 1)
        changed = activations.reshape(self.rows, seq, -1) if routing is None else activations
        for part in self.parts:
            force = self.following.in_force(part.where, self.rows, seq)
            if force is None or force.any:
                limited = None if force is None or force.all else force
                if routing is None:
                    changed = self._dense(changed, part, limited)
                else:
                    changed = self._routed(changed, part, limited, routing)
        return changed.reshape(activations.shape)

    def key(self) -> Hashable:
        """What the changes of a step of generation depend on: the rows and the neurons at which they are in force."""
        keys: list[Hashable] = []
        for part in self.parts:
            force = self.following.in_force(part.where, self.rows, 1)
            which, _ = self._pinned_now(part, 1, force)
            keys.append((None if force is None else tuple(force.host[:, 0].tolist()), tuple(which.tolist())))
        return tuple(keys)

    def coefficients(self) -> tuple[Tensor, Tensor | None]:
        """The changes of a step of generation as m and c of m · h + c, `[rows, width]` each."""
        like = next(part.there.multiplier for part in self.parts)
        m = torch.ones(self.rows, self.site.width, dtype=like.dtype, device=like.device)
        c = torch.zeros_like(m)
        for part in self.parts:
            force = self.following.in_force(part.where, self.rows, 1)
            if part.everywhere is not None:
                multiplier, constant = part.everywhere.multiplier, part.everywhere.constant
                added = c * multiplier if constant is None else c * multiplier + constant
                here = None if force is None else force.mask(m.device)
                c = added if here is None else torch.where(here, added, c)
                m = m * multiplier if here is None else torch.where(here, m * multiplier, m)
            which, _ = self._pinned_now(part, 1, force)
            if len(which):
                row, _, neuron = part.pinned[which].T.to(m.device)
                which = which.to(m.device)
                c[row, neuron] = part.there(c[row, neuron], which)
                m[row, neuron] = m[row, neuron] * part.there.multiplier[which]
        return m, c

    def _dense(self, activations: Tensor, part: _Part, force: Force | None) -> Tensor:
        changed, device = activations, activations.device
        if part.everywhere is not None:
            changed = part.everywhere(changed, slice(None), None)
            if force is not None:
                changed = torch.where(force.mask(device)[..., None], changed, activations)
        which, column = self._pinned_now(part, changed.shape[1], force)
        if len(which):
            row, _, neuron = part.pinned[which].T
            changed, which = changed.clone(), which.to(device)
            place = (row.to(device), column.to(device), neuron.to(device))
            changed[place] = part.there(changed[place], which)
        return changed

    def _routed(self, activations: Tensor, part: _Part, force: Force | None, routing: Routing) -> Tensor:
        assert isinstance(self.site, ExpertSite)
        lines, device, each = len(activations), activations.device, routing.per_token
        changed = activations
        if part.everywhere is not None:
            row_of = torch.arange(lines, device=device) * self.rows // lines
            start = routing.experts * self.site.d_expert
            columns = start[:, None] + torch.arange(self.site.d_expert, device=device)
            changed = part.everywhere(changed, row_of[:, None], columns)
            if force is not None:
                line_mask = force.mask(device).reshape(-1).repeat_interleave(each)
                changed = torch.where(line_mask[:, None], changed, activations)
        seq = lines // each // self.rows
        which, column = self._pinned_now(part, seq, force)
        if len(which):
            row, _, neuron = part.pinned[which].T
            token = (row * seq + column).to(device)
            neuron, which = neuron.to(device)[:, None], which.to(device)[:, None]
            line = token[:, None] * each + torch.arange(each, device=device)
            # A neuron changes where its token was sent to its expert. What is written elsewhere goes to a spare line.
            there = routing.experts[line] == neuron // self.site.d_expert
            place = (torch.where(there, line, lines), (neuron % self.site.d_expert).expand_as(line))
            spare = torch.cat([changed, changed[:1]])
            spare[place] = part.there(spare[place], which)
            changed = spare[:lines]
        return changed

    def _pinned_now(self, part: _Part, seq: int, force: Force | None) -> tuple[Tensor, Tensor]:
        """Which of `part.pinned` the running pass reads, and at which of its `seq` tokens, both on the CPU."""
        if not len(part.pinned) or self.following.first > part.last:
            return _NONE, _NONE
        row, position, _ = part.pinned.T
        hit = self.following.table(self.rows, seq, CPU)[row] == position[:, None]
        which, column = (hit if force is None else hit & force.host[row]).nonzero(as_tuple=True)
        return which, column


#: (row, neuron within the site, multiplier, constant), and the same with a position after the row.
_Free = tuple[int, int, float, float]
_Fixed = tuple[int, int, int, float, float]


@dataclass
class _Listed:
    """The changes to make at one site in one part of the text: of neurons without a position, and of those with one."""

    free: list[_Free] = field(default_factory=list)
    fixed: list[_Fixed] = field(default_factory=list)


def _plans(anatomy: Anatomy, rows: Sequence[Sequence[Intervention]], following: TokenTracker) -> Iterator[_Plan]:
    """One plan for each site that any row touches."""
    listed: dict[int, dict[TokenScope, _Listed]] = {}
    sites: dict[int, Site] = {}
    for row, treatments in enumerate(rows):
        for treatment in treatments:
            everywhere = {unit.anywhere for unit in treatment.neurons if unit.position is None}
            for unit, constant in _constants(treatment).items():
                site, coordinates = anatomy.coordinates(unit)
                sites[id(site)] = site
                part = listed.setdefault(id(site), {}).setdefault(treatment.where, _Listed())
                added = constant if isinstance(constant, tuple) else (constant,) * len(coordinates)
                for local, number in zip(coordinates, added, strict=True):
                    if unit.position is None:
                        part.free.append((row, local, treatment.multiplier, number))
                    elif unit.anywhere not in everywhere:
                        part.fixed.append((row, unit.position, local, treatment.multiplier, number))
    for key, site in sites.items():
        parts = (_part(site, where, len(rows), part) for where, part in listed[key].items())
        yield _Plan(site, following, len(rows), tuple(parts))


def _constants(treatment: Intervention) -> dict[Unit, UnitConstant]:
    """The constant of each unit; the first one for a unit that is named twice."""
    if not treatment.changes:
        return {}
    constants = treatment.constants or (0.0,) * len(treatment.neurons)
    pairs = zip(treatment.neurons, constants, strict=True)
    by_place: dict[Place, UnitConstant] = {}
    for unit, constant in pairs:
        by_place.setdefault(unit.place, constant)
    return {Unit.at(place): constant for place, constant in by_place.items()}


def _part(site: Site, where: TokenScope, rows: int, listed: _Listed) -> _Part:
    like, device = next(site.module.parameters()), home_of(site.module)
    dtype = like.dtype if like.dtype.is_floating_point else torch.float32
    free, fixed = listed.free, listed.fixed

    def numbers(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    everywhere = None
    if free:
        place = ([entry[0] for entry in free], [entry[1] for entry in free])
        multiplier = torch.ones(rows, site.width, dtype=dtype, device=device)
        multiplier[place] = numbers([entry[2] for entry in free])
        constant = None
        if any(entry[3] for entry in free):
            constant = torch.zeros_like(multiplier)
            constant[place] = numbers([entry[3] for entry in free])
        everywhere = _Affine(multiplier, constant)
    return _Part(
        where=where,
        everywhere=everywhere,
        pinned=torch.tensor([entry[:3] for entry in fixed], dtype=torch.long).reshape(-1, 3),
        there=_Affine(
            numbers([entry[3] for entry in fixed]),
            numbers([entry[4] for entry in fixed]) if any(entry[4] for entry in fixed) else None,
        ),
        last=max((entry[1] for entry in fixed), default=-1),
    )
