"""Folding the activations of a batch into the statistics of its sites, in hooks during the pass.

In the memory of the host each site is folded at once. On an accelerator what the sites leave is merged by a `Flight`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sessions.atlas.atlas import AtlasLayer
from sessions.atlas.folding import Room, Running
from sessions.atlas.in_flight import Flight, Left
from sessions.model.homes import home_of
from sessions.model.hooks import Routing, on_neurons
from sessions.model.parts import Anatomy
from sessions.model.sites import DenseSite, ExpertSite, Site

#: Bytes of activations on an accelerator that may wait to be merged, unless a plan says otherwise.
HELD = 2**30


def sites_of(anatomy: Anatomy, layers: Sequence[int]) -> list[tuple[int, Site]]:
    """The sites of some layers, each with its layer."""
    return [(layer, site) for layer in layers for site in anatomy.layers[layer].sites]


def begun(site: Site, k: int) -> Running:
    """Empty statistics of a site's neurons, on the device that computes these."""
    gated = site.gated if isinstance(site, DenseSite) else True
    return Running.empty(site.width, k, gated, home_of(site.module))


def by_layer(sites: Sequence[tuple[int, Site]], running: list[Running]) -> dict[int, AtlasLayer]:
    """The finished statistics of the sites, joined by layer.

    The running statistics are removed from the list one by one, so that the memory bound holds.
    """
    parts: dict[int, list[AtlasLayer]] = {}
    for layer, _ in sites:
        parts.setdefault(layer, []).append(running.pop(0).finished())
    return {layer: part[0] if len(part) == 1 else _joined(part) for layer, part in parts.items()}


def _joined(parts: Sequence[AtlasLayer]) -> AtlasLayer:
    names = AtlasLayer.__dataclass_fields__
    return AtlasLayer(**{name: np.concatenate([getattr(part, name) for part in parts], -1) for name in names})


@dataclass
class Batch:
    """Which rows of a flattened batch of `size` positions are counted, their places, and the count so far.

    On an accelerator `left` collects what the sites leave there, until it has `held` bytes; a `Flight` merges the rest.
    """

    rows: Tensor
    places: Tensor
    size: int
    seen: int
    held: int

    def __post_init__(self) -> None:
        self.room = Room()
        self.left: list[Left] = []
        self._on: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @classmethod
    def of(
        cls,
        counted: Sequence[Sequence[int]],
        longest: int,
        firsts: Sequence[int],
        seen: int = 0,
        held: int = HELD,
    ) -> Batch:
        """The positions of each row that are counted; `firsts` are the places of their positions 0."""
        rows = torch.tensor([row * longest + at for row, positions in enumerate(counted) for at in positions])
        places = torch.tensor(
            [first + at for first, positions in zip(firsts, counted, strict=True) for at in positions]
        )
        return cls(rows, places, len(counted) * longest, seen, held)

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows and places, on a device."""
        if device not in self._on:
            self._on[device] = (
                self.rows.to(device, non_blocking=True),
                self.places.to(device, non_blocking=True),
            )
        return self._on[device]

    def place(self, routing: Routing, device: torch.device) -> Tensor:
        """The place of each row of experts' activations, -1 where its position does not count."""
        rows, places = self.on(device)
        place = torch.full((self.size,), -1, device=device)
        place[rows] = places
        return place.repeat_interleave(routing.per_token)

    def leave(self, left: Left) -> None:
        """Keep what a site has left; what would be too much is merged at once."""
        if self.left and sum(each.bytes for each in (*self.left, left)) > self.held:
            self.land()
        self.left.append(left)

    def land(self) -> None:
        """Merge what was left on accelerators."""
        if self.left:
            Flight(self.left).land()
            self.left.clear()


def folding_into(site: Site, running: Running, batch: Batch) -> AbstractContextManager[None]:
    """Inside the block a pass over the batch is folded into the statistics of a site.

    On an accelerator it is folded in when what the batch has `left` has landed.
    """

    def record(values: Tensor, routing: Routing | None) -> Tensor:
        if not len(batch.rows):
            return values
        if routing is None:
            _fold_dense(running, values.reshape(-1, values.shape[-1]), batch)
        elif values.device.type != "cpu":
            batch.leave(Left.of(running, values, batch.place(routing, values.device), routing.experts))
        else:
            assert isinstance(site, ExpertSite)
            _fold_experts(site, running, values, routing, batch)
        return values

    return on_neurons(site, record)


def _fold_dense(running: Running, flat: Tensor, batch: Batch) -> None:
    """The activations of a dense MLP, `[size, width]`, at the positions that count."""
    rows, places = batch.on(flat.device)
    whole = len(rows) == batch.size
    if flat.device.type != "cpu":
        batch.leave(Left.of(running, flat if whole else flat.index_select(0, rows), places, seen=batch.seen))
        return
    if not whole and flat.dtype == torch.float32:
        flat = torch.index_select(flat, 0, rows, out=batch.room.take(len(rows), flat.shape[1], 1))
    elif not whole:
        flat = flat.index_select(0, rows)
    running.fold(flat, places, seen=batch.seen, room=batch.room)


def _fold_experts(site: ExpertSite, running: Running, values: Tensor, routing: Routing, batch: Batch) -> None:
    """Each expert's neurons, at the positions that were sent to it alone."""
    place = batch.place(routing, values.device)
    for expert in routing.experts.unique().tolist():
        rows = ((routing.experts == expert) & (place >= 0)).nonzero()[:, 0]
        columns = slice(expert * site.d_expert, (expert + 1) * site.d_expert)
        running.fold(values[rows], place[rows], columns, room=batch.room)
