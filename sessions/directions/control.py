"""Control vectors: the difference of two means.

At a site of each layer, the direction from the mean over negative prompts to the mean over positive ones, both taken at
the last token (difference of means: Marks & Tegmark 2023; used for steering by Rimsky et al. 2024, and with one prompt
a side by Turner et al. 2023). It is not normalised: added once, it moves the one mean to the other.

Prompts are read in batches padded on the right, which does not change what is computed for them (see `model.rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.directions.vector import Vector, Where, check_site, width_at
from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.model import memory_needed
from sessions.model.finite import not_finite
from sessions.model.homes import widest
from sessions.model.hooks import Change, on_neurons, on_states, together, watched
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.rows import in_batches, padded_rows
from sessions.model.tokens import last_positions


def difference_of_means(
    opened: OpenModel,
    positive: Sequence[Sequence[int]],
    negative: Sequence[Sequence[int]],
    *,
    site: Where = "resid_post",
    layers: Sequence[int] | None = None,
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[Vector]:
    """The vector from the mean over negative prompts to that over positive ones.

    Args:
        positive, negative: token ids of the prompts, one or more a side.
        layers: which; all if None.
        batch: tokens computed at once, padding included; by default as many as memory allows.

    Raises:
        UsageError: both sides are the same prompts, or the model's states at their ends are the same.
        ModelError: the model has no such site, or its states there are not finite; the message names the layer.
        Cancelled: `cancel` was requested; all hooks are removed.
    """
    layers = range(opened.anatomy.n_layers) if layers is None else layers
    for layer in layers:
        check_site(opened.anatomy, site, layer)
    if sorted(map(tuple, positive)) == sorted(map(tuple, negative)):
        raise UsageError(
            "the positive and the negative prompts are the same: their difference is zero",
            "give prompts that differ in what the vector should mean",
        )
    total = len(positive) + len(negative)
    high = yield from mean_at_ends(opened, positive, site, layers, batch, cancel, (0, total))
    low = yield from mean_at_ends(opened, negative, site, layers, batch, cancel, (len(positive), total))
    directions = {layer: (high[layer] - low[layer]).float() for layer in layers}
    if not any(bool(direction.any()) for direction in directions.values()):
        raise UsageError(f"the two sides are the same to the model at {site}", "give prompts that end differently")
    return Vector(
        site,
        directions,
        len(positive),
        len(negative),
        opened.info.family,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
    )


def mean_at_ends(
    opened: OpenModel,
    prompts: Sequence[Sequence[int]],
    site: Where,
    layers: Sequence[int],
    batch: int | None,
    cancel: Cancel | None,
    counted: tuple[int, int],
) -> Steps[dict[int, Tensor]]:
    """Mean over the prompts at their last tokens, layer → `[width]` in float64.

    Args:
        counted: prompts read before and in all, for the progress.
    """
    done, total = counted
    sums = {layer: torch.zeros(width_at(opened.anatomy, site, layer), dtype=torch.float64) for layer in layers}
    yield Progress("reading the prompts", done, total, "prompts")

    def ends(rows: Sequence[int]) -> dict[int, Tensor]:
        return at_ends(opened, [prompts[row] for row in rows], site, layers, cancel)

    for rows, states in in_batches(opened, [len(ids) for ids in prompts], batch, memory_needed.forward, ends):
        for layer in layers:
            sums[layer] += states[layer].to(widest(states[layer].device)).sum(0).cpu()
            if not sums[layer].isfinite().all():
                raise not_finite(opened, [prompts[row] for row in rows], f"what layer {layer} computes at {site}")
        done += len(rows)
        yield Progress("reading the prompts", done, total, "prompts")
    return {layer: total / len(prompts) for layer, total in sums.items()}


@torch.inference_mode()
def at_ends(
    opened: OpenModel,
    prompts: Sequence[Sequence[int]],
    site: Where,
    layers: Sequence[int],
    cancel: Cancel | None = None,
) -> dict[int, Tensor]:
    """The states of a site at the last token of each prompt, layer → `[prompts, width]`, in one pass.

    Interventions around the call are in force.
    """
    recorded = _recorded(opened.anatomy, site, layers, [len(prompt) for prompt in prompts])
    with watched(opened.anatomy, cancel), padded_rows(opened, prompts) as ids, recorded as seen:
        opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(1, ids))
    return {layer: torch.cat(parts, -1) for layer, parts in seen.items()}


@contextmanager
def _recorded(
    anatomy: Anatomy, site: Where, layers: Sequence[int], lengths: Sequence[int]
) -> Iterator[dict[int, list[Tensor]]]:
    """Inside the block a pass records the states of a site at each row's last token, in parts of `[rows, width]`."""
    seen: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    rows, ends = torch.arange(len(lengths)), torch.tensor(lengths) - 1

    def keep(layer: int, values: Tensor) -> None:
        # Some families flatten batch and sequence before an MLP; rows are separated again here.
        apart = values.reshape(len(lengths), -1, values.shape[-1])
        seen[layer].append(apart[rows.to(values.device), ends.to(values.device)])

    def state_of(layer: int) -> Callable[[Tensor], Tensor]:
        def record(state: Tensor) -> Tensor:
            keep(layer, state)
            return state

        return record

    def neurons_of(layer: int) -> Change:
        def record(values: Tensor, _: object) -> Tensor:
            keep(layer, values)
            return values

        return record

    hooks: list[Any] = []
    for layer in layers:
        if site == "neurons":
            hooks += [on_neurons(part, neurons_of(layer)) for part in anatomy.layers[layer].sites]
        else:
            hooks.append(on_states(anatomy, layer, site, state_of(layer)))
    with together(hooks):
        yield seen
