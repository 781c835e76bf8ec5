"""Subspaces of the residual stream for surgery: what differs between versions of the same prompts, a control vector,
the span of tokens.

Versions. Each version of a prompt has one state at a layer's output: the mean over the positions from where its
versions begin to differ (before, a causal model holds the same), or its last token. From the states of each prompt
their mean is taken away, so that what the prompt is about goes and what tells its versions apart stays; the top right
singular vectors of what is left, X `[prompts · versions, d_model]`, span the subspace (the low-rank subspace of
language identity of Xie et al., EMNLP 2022, with means by prompt in place of means by language). They are found as
eigenvectors of XᵀX or, where there are fewer rows than columns, of X Xᵀ, in float64.

The states of the first position before and after the layer are projected out of X first. That position is an attention
sink with activations up to hundreds of times as large as all others (massive activations, Sun et al. 2024), written by
a few layers. A subspace that overlaps slightly with them removes so much of them that the model breaks, whatever the
subspace means. On smollm2, 3 dimensions out of layers 9-12 move the next token by 2.3
nats of KL with them, and by 0.003 without.

Tokens. The direction that raises a token's logit is its row of the unembedding, carried back through the final norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.directions.vector import Vector
from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.model import memory_needed
from sessions.model.finite import not_finite
from sessions.model.hooks import on_states, only_to, together, watched
from sessions.model.linear import carried_back
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.places import unembedding
from sessions.model.rows import in_batches, padded_rows
from sessions.model.tokens import last_positions

#: Which of a text's states are meant: their mean, or the last one.
Pooled = Literal["mean", "last"]
#: Versions of prompts as the model reads them: prompts, versions, ids.
Versions = Sequence[Sequence[Sequence[int]]]


@dataclass(frozen=True, eq=False)
class Subspace:
    """An orthonormal basis `[k, d_model]` in float32; of versions, the share of their squared differences that it holds
    and in how many dimensions they differ."""

    basis: Tensor
    captured: float | None = None
    differing: int | None = None


@dataclass(frozen=True, eq=False)
class States:
    """What leaves a layer for every version of every prompt, `pooled` `[prompts, versions, d_model]` in float32, and
    what enters and leaves it at the first position, on average: `first` `[2, d_model]`."""

    pooled: Tensor
    first: Tensor


def states_of(
    opened: OpenModel,
    versions: Versions,
    layers: Sequence[int],
    pooled: Pooled = "mean",
    *,
    label: str = "reading the versions",
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[dict[int, States]]:
    """The states of versions at each layer.

    Raises:
        ModelError: what a layer computed is not finite.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    spans = [span for prompt in versions for span in _spans(prompt, pooled)]
    rows = [ids for prompt in versions for ids in prompt]
    states = {layer: torch.empty(len(rows), opened.anatomy.d_model) for layer in layers}
    first = {layer: torch.zeros(2, opened.anatomy.d_model) for layer in layers}
    done = 0
    yield Progress(label, 0, len(rows), "texts")

    def pooled_states(part: Sequence[int]) -> dict[int, tuple[Tensor, Tensor]]:
        return _pooled(opened, [rows[row] for row in part], [spans[row] for row in part], layers, cancel)

    for part, seen in in_batches(opened, [len(ids) for ids in rows], batch, memory_needed.forward, pooled_states):
        for layer in layers:
            if not seen[layer][0].isfinite().all():
                raise not_finite(opened, [rows[row] for row in part], f"what layer {layer} computes")
            states[layer][part] = seen[layer][0]
            first[layer] += seen[layer][1] / len(rows)
        done += len(part)
        yield Progress(label, done, len(rows), "texts")
    return {
        layer: States(states_.reshape(len(versions), -1, states_.shape[-1]), first[layer])
        for layer, states_ in states.items()
    }


def _spans(prompt: Sequence[Sequence[int]], pooled: Pooled) -> Iterator[tuple[int, int]]:
    """First position and the one behind the last, of each version: the first position of a text never counts."""
    shared = max(1, sum(1 for _ in takewhile(lambda at: len(set(at)) == 1, zip(*prompt, strict=False))))
    for ids in prompt:
        yield (min(shared, len(ids) - 1) if pooled == "mean" else len(ids) - 1), len(ids)


@torch.inference_mode()
def _pooled(
    opened: OpenModel,
    rows: Sequence[Sequence[int]],
    spans: Sequence[tuple[int, int]],
    layers: Sequence[int],
    cancel: Cancel | None,
) -> dict[int, tuple[Tensor, Tensor]]:
    """By layer, the states of all rows, `[rows, d_model]`, and those of the first position, `[2, d_model]`, summed."""
    places = torch.arange(max(map(len, rows)))
    weights = torch.stack([((places >= start) & (places < end)) / (end - start) for start, end in spans])
    recorded = _recorded(opened.anatomy, layers, weights)
    with watched(opened.anatomy, cancel), padded_rows(opened, rows) as ids, recorded as (seen, first):
        opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(1, ids))
    return {layer: (seen[layer], torch.stack(first[layer])) for layer in layers}


@contextmanager
def _recorded(
    anatomy: Anatomy, layers: Sequence[int], weights: Tensor
) -> Iterator[tuple[dict[int, Tensor], dict[int, list[Tensor]]]]:
    """Inside the block, a pass leaves of each layer the states of each row summed by `weights` `[rows, seq]`, and what
    the first position held before and after it, summed over rows; layers above compute nothing."""
    seen: dict[int, Tensor] = {}
    first: dict[int, list[Tensor]] = {layer: [] for layer in layers}

    def recording(layer: int, *, leaves: bool) -> Callable[[Tensor], Tensor]:
        def record(state: Tensor) -> Tensor:
            apart = state.reshape(*weights.shape, -1).float()
            first[layer].append(apart[:, 0].sum(0).cpu())
            if leaves:
                seen[layer] = torch.einsum("rs,rsd->rd", weights.to(apart.device), apart).cpu()
            return state

        return record

    hooks = [on_states(anatomy, layer, "resid_pre", recording(layer, leaves=False)) for layer in layers]
    hooks += [on_states(anatomy, layer, "resid_post", recording(layer, leaves=True)) for layer in layers]
    with only_to(anatomy, max(layers)), together(hooks):
        yield seen, first


def of_versions(states: States, dims: int | None, layer: int) -> Subspace:
    """The top `dims` directions in which versions differ; 10 or as many as there are, if None.

    Raises:
        UsageError: they do not differ, or in fewer dimensions; the message names the number and the layer.
    """
    pooled = states.pooled.double()
    apart = (pooled - pooled.mean(1, keepdim=True)).flatten(0, 1)
    total = float(apart.square().sum())
    if bool(states.first.any()):
        rest = orthonormal(states.first[states.first.norm(dim=1) > 0]).double()
        apart = apart - (apart @ rest.T) @ rest
    few = len(apart) < apart.shape[1]
    squares, vectors = torch.linalg.eigh(apart @ apart.T if few else apart.T @ apart)
    sizes, vectors = squares.clamp(min=0).sqrt().flip(0), vectors.flip(1)
    # Below this, differences are those of rounding in the states, which are float32.
    floor = torch.finfo(torch.float32).eps * max(max(apart.shape) * float(sizes[0]), float(pooled.norm()))
    rank = int((sizes > floor).sum())
    if rank == 0:
        raise UsageError(f"the versions do not differ at layer {layer}", "give versions that differ")
    wanted = min(rank, _DIMS) if dims is None else dims
    if wanted > rank:
        raise UsageError(
            f"the versions differ in {rank:,} dimensions at layer {layer}, fewer than {wanted:,}",
            f"--dims {rank}, or more prompts",
        )
    kept = vectors[:, :wanted]
    captured = float(sizes[:wanted].square().sum()) / total
    return Subspace(orthonormal((apart.T @ kept).T if few else kept.T), captured, rank)


#: Directions that are taken unless it is said how many.
_DIMS = 10


def of_vector(vector: Vector, layers: Sequence[int]) -> dict[int, Subspace]:
    """The direction of a control vector at each of these layers; of one with a single layer, that everywhere.

    Raises:
        UsageError: it is one of neurons, or has no direction at one of the layers.
    """
    if vector.site == "neurons":
        raise UsageError(
            f"vector '{vector.name}' is one of neurons, and layers write to the residual stream",
            "make one at another site: vector NAME POSITIVE NEGATIVE --site resid_post",
        )
    only = vector.directions[vector.layers[0]] if len(vector) == 1 else None
    subspaces: dict[int, Subspace] = {}
    for layer in layers:
        direction = vector.directions.get(layer) if only is None else only
        if direction is None or not bool(direction.any()):
            raise UsageError(
                f"vector '{vector.name}' has no direction at layer {layer}",
                f"it has layers {vector.layers[0]} to {vector.layers[-1]}",
            )
        subspaces[layer] = Subspace(orthonormal(direction[None]))
    return subspaces


@torch.no_grad()
def of_tokens(opened: OpenModel, ids: Sequence[int]) -> Subspace:
    """What raises the logits of tokens.

    Raises:
        UsageError: one of them is raised by others.
        ModelError: the unembedding is packed.
    """
    rows = unembedding(opened.anatomy, ids)
    directions = carried_back(opened.anatomy.final_norm, rows)
    if int(torch.linalg.matrix_rank(directions.double(), rtol=1e-6)) < len(ids):
        raise UsageError("the directions of the tokens are not independent", "leave one out")
    return Subspace(orthonormal(directions))


def orthonormal(directions: Tensor) -> Tensor:
    """An orthonormal basis, in float32, of what independent rows `[k, d_model]` span."""
    rows = directions.double() / directions.double().norm(dim=1, keepdim=True)
    return torch.linalg.qr(rows.T)[0].T.contiguous().float()


def apart(states: Tensor) -> float | None:
    """How far versions lie from each other: their mean distance within a prompt over that between prompts within a
    version. `states` is `[prompts, versions, d_model]`; None of a single prompt."""
    if len(states) < 2:
        return None
    within, between = _mean_distance(states), _mean_distance(states.transpose(0, 1))
    return within / between if between > 0 else None


def _mean_distance(groups: Tensor) -> float:
    """Mean over groups and pairs of the distance between two of a group, of `[groups, members, d_model]`."""
    members = groups.shape[1]
    total = torch.cdist(groups.double(), groups.double(), compute_mode="donot_use_mm_for_euclid_dist").sum()
    return float(total) / (len(groups) * members * (members - 1))
