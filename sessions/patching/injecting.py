"""Injecting: a hidden state of one text, put in the place of another's.

At one position of a text, the state at a site of a layer (see `hooks.StateSite`) is replaced by a vector, or a vector
is added to it, and the model continues from there. This is activation patching with a state from another prompt, as in
Patchscopes, which let a model say what a state holds (Ghandeharioun et al. 2024, arXiv:2401.06102, section 3).

The position is one of the prompt, so the change is made once, in the prefill. Later tokens, in cached generation too,
see it through the keys and values that were computed from it. Each row of a batch has its own changes. A state that is
injected where it was captured leaves every bit unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sessions.interventions.token_scopes import TokenTracker
from sessions.model.hooks import Routing, StateSite, before, on_neurons, on_states, together
from sessions.model.parts import Anatomy
from sessions.model.sites import ExpertSite, Site


@dataclass(frozen=True, eq=False)
class Injection:
    """`state`, `[d_model]`, at a site of a layer at one position: it replaces what is there or, with `adds`, is added.

    `inputs` are per-layer embeddings, by layer, to be swapped at that position as well.
    """

    layer: int
    site: StateSite
    position: int
    state: Tensor
    adds: bool = False
    inputs: Mapping[int, Tensor] = field(default_factory=dict)


@contextmanager
def injected(anatomy: Anatomy, rows: Sequence[Sequence[Injection]]) -> Iterator[None]:
    """Inside the block, row r of every batch has `rows[r]` injected.

    Raises:
        ModelError: a layer has no such site.
    """
    following = TokenTracker()
    with together([following.running(anatomy), *_hooks(anatomy, rows, following)]):
        yield


def _hooks(anatomy: Anatomy, rows: Sequence[Sequence[Injection]], following: TokenTracker) -> Iterator[Any]:
    placed: dict[tuple[int, StateSite], list[tuple[int, Injection]]] = {}
    swapped: dict[int, list[tuple[int, int, Tensor]]] = {}
    for row, injections in enumerate(rows):
        for injection in injections:
            placed.setdefault((injection.layer, injection.site), []).append((row, injection))
            for layer, values in injection.inputs.items():
                swapped.setdefault(layer, []).append((row, injection.position, values))
    for (layer, site), some in placed.items():
        changes = [(row, injection.position, injection.state, injection.adds) for row, injection in some]
        yield on_states(anatomy, layer, site, _put(changes, len(rows), following))
    for layer, pieces in swapped.items():
        place = anatomy.layers[layer].per_layer_input
        assert place is not None, "per-layer embeddings where the family has them"
        inputs = [(row, position, values, False) for row, position, values in pieces]
        yield before(anatomy.layers[layer].block, _put(inputs, len(rows), following), place)


def _put(
    changes: Sequence[tuple[int, int, Tensor, bool]], rows: int, following: TokenTracker
) -> Callable[[Tensor], Tensor]:
    """Changes (row, position, vector, whether to add it) as one function on `[rows, seq, width]`."""
    last = max(position for _, position, _, _ in changes)

    def change(states: Tensor) -> Tensor:
        if following.first > last:
            return states
        apart = states.reshape(rows, -1, states.shape[-1])
        table = following.table(rows, apart.shape[1], torch.device("cpu"))
        apart = apart.clone()
        for row, position, vector, adds in changes:
            # Left padding has position 0 too: the last such token is the real one.
            (columns,) = (table[row] == position).nonzero(as_tuple=True)
            if len(columns):
                column = int(columns[-1])
                value = vector.to(apart)
                apart[row, column] = apart[row, column] + value if adds else value
        return apart.reshape(states.shape)

    return change


@dataclass(frozen=True)
class Seen:
    """Values of a pass at chosen positions: states by (layer, site), `[rows, positions, d_model]`; activations of all
    neurons by layer, `[rows, positions, d_mlp]`; and per-layer embeddings by layer."""

    states: dict[tuple[int, StateSite], Tensor] = field(default_factory=dict)
    neurons: dict[int, Tensor] = field(default_factory=dict)
    inputs: dict[int, Tensor] = field(default_factory=dict)


@contextmanager
def seen_at(
    anatomy: Anatomy,
    rows: int,
    positions: Sequence[int],
    *,
    states: Sequence[tuple[int, StateSite]] = (),
    neurons: Sequence[int] = (),
    inputs: bool = False,
) -> Iterator[Seen]:
    """Inside the block, one pass over `rows` texts of one length records its values at some positions.

    Args:
        states: layers and sites.
        neurons: layers.

    Experts that a position was not sent to are at 0. Values are read after the hooks that were installed before.

    Raises:
        ModelError: a layer has no such site.
    """
    seen = Seen()
    columns = torch.tensor(list(positions), dtype=torch.long)

    def keep(into: dict[Any, Tensor], key: Any) -> Callable[[Tensor], Tensor]:
        def record(values: Tensor) -> Tensor:
            into[key] = values.reshape(rows, -1, values.shape[-1])[:, columns.to(values.device)].float().cpu()
            return values

        return record

    def keep_neurons(layer: int, site: Site) -> Callable[[Tensor, Routing | None], Tensor]:
        def record(values: Tensor, routing: Routing | None) -> Tensor:
            whole = seen.neurons.setdefault(layer, torch.zeros(rows, len(columns), anatomy.layers[layer].width))
            whole[..., site.offset : site.offset + site.width] = _at(site, values, routing, rows, columns)
            return values

        return record

    hooks: list[Any] = [on_states(anatomy, layer, site, keep(seen.states, (layer, site))) for layer, site in states]
    for layer in neurons:
        hooks += [on_neurons(site, keep_neurons(layer, site)) for site in anatomy.layers[layer].sites]
    for layer, parts in enumerate(anatomy.layers if inputs else ()):
        if parts.per_layer_input is not None:
            hooks.append(before(parts.block, keep(seen.inputs, layer), parts.per_layer_input))
    with together(hooks):
        yield seen


def _at(site: Site, values: Tensor, routing: Routing | None, rows: int, columns: Tensor) -> Tensor:
    """Activations of a site at some positions, `[rows, positions, width]`."""
    if routing is None:
        return values.reshape(rows, -1, site.width)[:, columns.to(values.device)].float().cpu()
    assert isinstance(site, ExpertSite)
    chosen = routing.experts.reshape(rows, -1, routing.per_token).cpu()[:, columns]  # [rows, positions, k]
    parts = values.reshape(rows, -1, routing.per_token, site.d_expert)[:, columns.to(values.device)].float().cpu()
    whole = torch.zeros(rows, len(columns), site.n_experts, site.d_expert)
    whole.scatter_(2, chosen[..., None].expand_as(parts), parts)
    return whole.reshape(rows, len(columns), site.width)


def random_like(state: Tensor, seed: int) -> Tensor:
    """A random direction, drawn from a seed, with the state's norm."""
    drawn = torch.randn(state.shape, generator=torch.Generator().manual_seed(seed)).double()
    return (drawn * (state.double().norm() / drawn.norm())).to(state.dtype)
