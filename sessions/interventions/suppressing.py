"""Suppressing: neurons are held at zero in every forward pass of the model.

Unlike an intervention it has no rows and no positions: while it lasts, it is a part of the model. All texts,
attributions, means and effects are then those of the model without these neurons. Its hooks come first at their site,
so that hooks that record or change activations later see the zeros.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from sessions.model.homes import home_of
from sessions.model.hooks import Routing, on_neurons, together
from sessions.model.parts import Anatomy
from sessions.model.sites import ExpertSite, Site
from sessions.model.units import Unit, noun

#: Neurons that a remark names.
NAMED = 3


class Suppression:
    """Neurons that are held at zero. `met` says whether a forward pass has run while they were."""

    def __init__(self, anatomy: Anatomy, neurons: Sequence[Unit]) -> None:
        self._kept: list[tuple[Site, Tensor]] = []
        self._lifted = 0
        self.met = False
        self.remark = f"computed with {described(neurons)} suppressed"
        numbers: dict[int, list[int]] = {}
        sites: dict[int, Site] = {}
        for neuron in neurons:
            site, coordinates = anatomy.coordinates(neuron)
            sites[id(site)] = site
            numbers.setdefault(id(site), []).extend(coordinates)
        for key, site in sites.items():
            self._kept.append((site, _mask(site, numbers[key])))

    @property
    def is_lifted(self) -> bool:
        return self._lifted > 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block the neurons are at zero."""
        with together(on_neurons(site, _Zeroed(self, site, kept)) for site, kept in self._kept):
            yield

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Inside the block the neurons keep their activations."""
        self._lifted += 1
        try:
            yield
        finally:
            self._lifted -= 1


@dataclass(frozen=True, eq=False)
class _Zeroed:
    """The change at one site. `kept` is 0 for the neurons at zero and 1 for all others, `[width]`."""

    suppression: Suppression
    site: Site
    kept: Tensor

    def __call__(self, activations: Tensor, routing: Routing | None) -> Tensor:
        if self.suppression.is_lifted:
            return activations
        self.suppression.met = True
        if routing is None:
            return activations * self.kept.to(activations.dtype)
        assert isinstance(self.site, ExpertSite)
        return activations * self.kept.view(self.site.n_experts, -1)[routing.experts].to(activations.dtype)

    def key(self) -> Hashable:
        return self.suppression.is_lifted

    def coefficients(self) -> tuple[Tensor, Tensor | None]:
        return (torch.ones_like(self.kept) if self.suppression.is_lifted else self.kept), None


def described(neurons: Sequence[Unit]) -> str:
    """The number of units, and the names of the first ones."""
    names = ", ".join(str(neuron) for neuron in neurons[:NAMED])
    if len(neurons) <= NAMED:
        return names
    return f"{len(neurons):,} {noun(neurons)} ({names}, …)"


def _mask(site: Site, numbers: Sequence[int]) -> Tensor:
    """0 for these neurons of a site and 1 for all others, `[width]`."""
    like = next(site.module.parameters())
    dtype = like.dtype if like.dtype.is_floating_point else torch.float32
    mask = torch.ones(site.width, dtype=dtype, device=home_of(site.module))
    mask[list(numbers)] = 0
    return mask
