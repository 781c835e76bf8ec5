"""Surgery: a subspace removed from what layers write to the residual stream, or all but that subspace.

W ← (I − QᵀQ) W or W ← QᵀQ W, of the down projections and, where asked, of the attention's output (the weight
orthogonalisation of Arditi et al. 2024, section 4.1, for a subspace of any dimension). Embeddings and the other layers
write what they wrote.

Some families have a norm between such a matrix and the residual stream. The subspace is then taken out before it, as
the norm's weights turn it (`linear.carried_back`), so that behind the norm nothing of it is left. The norm scales
whatever is left to its own size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from sessions.edits.edit import Projection
from sessions.model.linear import carried_back
from sessions.model.parts import Anatomy
from sessions.model.places import Writer, norm_behind, plain, writer_places
from sessions.model.sites import DenseSite
from sessions.surgery.subspaces import Subspace, orthonormal


def writers(attention: bool) -> tuple[Writer, ...]:
    """What is cut in each layer."""
    return ("down", "attn_out") if attention else ("down",)


def projections(
    anatomy: Anatomy, subspaces: Mapping[int, Subspace], *, attention: bool = False, keeps: bool = False
) -> tuple[Projection, ...]:
    """The changes that take each layer's subspace out of what it writes, or keep nothing else.

    Raises:
        ModelError: a norm behind a writer is of a make unknown here.
    """
    made = []
    for layer, subspace in subspaces.items():
        for writer in writers(attention):
            norm, basis = norm_behind(anatomy, layer, writer), subspace.basis
            if norm is not None:
                basis = orthonormal(carried_back(norm, basis, inverse=keeps))
            made.append(Projection(layer, writer, basis, keeps))
    return tuple(made)


def has_bias(anatomy: Anatomy, layer: int, writer: Writer) -> bool:
    """Whether a writer adds a constant that is not nought, which is none of its weights."""
    parts = anatomy.layers[layer]
    modules: Sequence[nn.Module | None] = [parts.attention_output]
    if writer == "down":
        modules = [site.down if isinstance(site, DenseSite) else site.experts for site in parts.sites]
    inside = [plain(module) for module in modules if module is not None]
    biases = [getattr(module, name, None) for module in inside for name in ("bias", "down_proj_bias")]
    return any(isinstance(bias, torch.Tensor) and bool(bias.any()) for bias in biases)


def check_writers(anatomy: Anatomy, layers: Sequence[int], attention: bool) -> None:
    """Raise `ModelError` unless what these layers write with can be edited: not packed, in memory, one matrix."""
    for layer in layers:
        for writer in writers(attention):
            writer_places(anatomy, layer, writer)


def remarks(anatomy: Anatomy, layers: Sequence[int], attention: bool) -> Iterator[str]:
    """What a user should know of the writers that are cut: a norm behind them, and biases of theirs."""
    cut = [(layer, writer) for layer in layers for writer in writers(attention)]
    if any(norm_behind(anatomy, *place) is not None for place in cut):
        yield (
            "a norm stands between these writers and the residual stream: the subspace is removed before it, adjusted "
            "for its weights, so that nothing of it reaches the stream; the norm rescales what is left"
        )
    if any(has_bias(anatomy, *place) for place in cut):
        yield "these writers also add a bias, which is a constant outside the weights and stays"


@torch.no_grad()
def change_of(anatomy: Anatomy, projection: Projection) -> float:
    """By how much a projection changes the matrices as they are now: ‖ΔW‖ / ‖W‖ (Frobenius), over all of a layer."""
    all_of_it = inside = 0.0
    for place in writer_places(anatomy, projection.layer, projection.writer):
        weights = place.matrix.float()
        all_of_it += float(weights.square().sum())
        inside += float((projection.basis.to(weights.device) @ weights).square().sum())
    changed = all_of_it - inside if projection.keeps else inside
    return max(0.0, changed / all_of_it) ** 0.5 if all_of_it else 0.0
