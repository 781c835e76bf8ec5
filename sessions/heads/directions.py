"""The singular directions of a head's two maps, as tokens.

OV = O · V says what a head writes for what it reads at a source; QK = Qᵀ · K says which sources a query attends to
(Elhage et al. 2021; as singular vectors, Millidge and Black 2022, The singular value decompositions of transformer
weight matrices are highly interpretable). The maps are those of one position with the norms' scales there, so rotary
embeddings stand at a relative position of 0. A direction that is read is shown by the tokens whose embeddings lie along
it, a direction that is written by the tokens that it pushes (the logit lens).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sessions.directions.lens import extremes, through_head
from sessions.heads.findings import SingularDirection
from sessions.heads.maps import HeadMaps
from sessions.model.homes import weight_of
from sessions.model.opening import OpenModel

#: Embeddings that are read at once.
_AT_ONCE = 8192


def singular(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition of `leftᵀ @ right`, of two matrices `[d, n]` with d ≤ n.

    Returns the directions of the left side `[d, n]`, the values `[d]`, and the directions of the right side `[d, n]`.
    The largest coordinate of each on the right is positive, so that a map has the same directions on every machine.
    """
    out_basis, out_factor = torch.linalg.qr(left.T)
    in_basis, in_factor = torch.linalg.qr(right.T)
    u, values, v = torch.linalg.svd(out_factor @ in_factor.T)
    left_side, right_side = (out_basis @ u).T, (in_basis @ v.T).T
    largest = right_side.abs().argmax(1, keepdim=True)
    signs = right_side.gather(1, largest).sign()
    return left_side * signs, values, right_side * signs


@torch.inference_mode()
def ov_directions(opened: OpenModel, maps: HeadMaps, count: int, k: int) -> tuple[SingularDirection, ...]:
    """The strongest `count` directions of OV, with `k` tokens a side."""
    written, values, read = singular(maps.written, maps.value.matrix[-1])
    pushed = through_head(opened.anatomy, opened.tokenizer, _as_model(opened, written[:count]), k)
    embedded = extremes(opened.tokenizer, _along(opened, read[:count]), k)
    return _paired(values, embedded, pushed)


@torch.inference_mode()
def qk_directions(opened: OpenModel, maps: HeadMaps, count: int, k: int) -> tuple[SingularDirection, ...]:
    """The strongest `count` directions of QK, with `k` tokens a side: of the query, and of the source."""
    query, values, source = singular(maps.query.matrix[-1], maps.key.matrix[-1])
    sides = [extremes(opened.tokenizer, _along(opened, side[:count]), k) for side in (query, source)]
    return _paired(values, *sides)


def _paired(
    values: Tensor,
    read: list[tuple[tuple[str, ...], tuple[str, ...]]],
    written: list[tuple[tuple[str, ...], tuple[str, ...]]],
) -> tuple[SingularDirection, ...]:
    shares = (values.square() / values.square().sum()).tolist()
    return tuple(
        SingularDirection(share=share, read=along, read_against=against, written=along_too, written_against=against_too)
        for share, (along, against), (along_too, against_too) in zip(shares, read, written, strict=False)
    )


def _as_model(opened: OpenModel, vectors: Tensor) -> Tensor:
    return vectors.to(opened.model.dtype)


def _along(opened: OpenModel, directions: Tensor) -> Tensor:
    """The cosine of each token's embedding with each direction, `[n, vocab]`."""
    weight = weight_of(opened.model.get_input_embeddings(), "weight")
    rows = directions.float().to(weight.device)
    parts = []
    for part in weight.split(_AT_ONCE):
        embeddings = part.float()
        parts.append(rows @ embeddings.T / embeddings.norm(dim=1).clamp(min=1e-12))
    return torch.cat(parts, 1)
