"""Folding the activations of a batch into the statistics of its sites, in hooks during the pass."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sessions.atlas.atlas import AtlasLayer
from sessions.atlas.folding import Running
from sessions.model.homes import home_of
from sessions.model.hooks import Routing, on_neurons
from sessions.model.parts import Anatomy
from sessions.model.sites import DenseSite, ExpertSite, Site


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


@dataclass(frozen=True)
class Batch:
    """Which rows of a flattened batch of `size` positions are counted, their places, and the count so far."""

    rows: Tensor
    places: Tensor
    size: int
    seen: int

    @classmethod
    def of(cls, counted: Sequence[Sequence[int]], longest: int, firsts: Sequence[int], seen: int = 0) -> Batch:
        """The positions of each row that are counted; `firsts` are the places of their positions 0."""
        rows = torch.tensor([row * longest + at for row, positions in enumerate(counted) for at in positions])
        places = torch.tensor(
            [first + at for first, positions in zip(firsts, counted, strict=True) for at in positions]
        )
        return cls(rows, places, len(counted) * longest, seen)


def folding_into(site: Site, running: Running, batch: Batch) -> AbstractContextManager[None]:
    """Inside the block a pass over the batch is folded into the statistics of a site."""

    def record(values: Tensor, routing: Routing | None) -> Tensor:
        if not len(batch.rows):
            return values
        if routing is None:
            flat = values.reshape(-1, values.shape[-1])
            rows, places = batch.rows.to(values.device), batch.places.to(values.device)
            running.fold(flat if len(rows) == batch.size else flat.index_select(0, rows), places, seen=batch.seen)
        else:
            assert isinstance(site, ExpertSite)
            _fold_experts(site, running, values, routing, batch)
        return values

    return on_neurons(site, record)


def _fold_experts(site: ExpertSite, running: Running, values: Tensor, routing: Routing, batch: Batch) -> None:
    """Each expert's neurons, at the positions that were sent to it alone."""
    place = torch.full((batch.size,), -1, device=values.device)
    place[batch.rows.to(values.device)] = batch.places.to(values.device)
    place = place.repeat_interleave(routing.per_token)
    for expert in routing.experts.unique().tolist():
        rows = ((routing.experts == expert) & (place >= 0)).nonzero()[:, 0]
        columns = slice(expert * site.d_expert, (expert + 1) * site.d_expert)
        running.fold(values[rows], place[rows], columns)
