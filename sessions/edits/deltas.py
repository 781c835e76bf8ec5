"""The directions of a weight change: what the difference of the weights alone reads and pushes.

A neuron after an edit is the sum of the original and the change, and after a small change it shows the tokens of the
original. So the difference Δ = W_after − W_before is inspected alone, each line of it like a neuron's:

    a row          the tokens that Δ reads (`circuits.card`)
    a column       the tokens that Δ pushes (`circuits.lens`), and how far one token dominates that push
    a matrix       the singular directions of Δ = Σ σ u vᵀ: u is written when v is read, σ² / ‖Δ‖² is its share

The matrices that an edit adds or removes have low rank and are handled as factors: Δ = L R, so with L = Q₁ R₁ and
Rᵀ = Q₂ R₂ the singular values are those of the small R₁ R₂ᵀ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from sessions.cancel import look
from sessions.directions.lens import extremes, predicted
from sessions.directions.reading import tokens_read
from sessions.edits.edit import LowRank, Neurons, Projection, WeightChange
from sessions.edits.findings import DeltaDirection, DeltaPart, DeltaPush, NeuronDelta
from sessions.errors import ModelError
from sessions.model.homes import home_of
from sessions.model.linear import odd_part
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.places import (
    Part,
    Writer,
    module_named,
    neuron_places,
    norm_behind,
    parts_of,
    plain,
    unembedding,
    writer_places,
)
from sessions.model.sites import DenseSite
from sessions.model.tokens import token_text
from sessions.model.units import Unit

#: Neurons as (layer, index).
Site = tuple[int, int]
#: Lines of the weights in float32 on the CPU, by neuron and part.
Lines = dict[tuple[Site, Part], Tensor]
#: How many directions of a matrix are shown, and neurons of each.
DIRECTIONS, NEURONS = 2, 5
#: How many neurons the share of the strongest changes counts.
MOST = 10


def sites_of(change: WeightChange) -> list[Site]:
    """The neurons that a change concerns; none for a whole matrix."""
    return [(change.layer, index) for index in change.indices] if isinstance(change, Neurons) else []


def lines_of(opened: OpenModel, sites: Sequence[Site]) -> Lines:
    """The rows and columns of neurons as the weights hold them now."""
    by_place: dict[tuple[int, Part], list[int]] = {}
    for layer, index in sites:
        for part in parts_of(opened.anatomy, layer, index):
            by_place.setdefault((layer, part), []).append(index)
    lines: Lines = {}
    for (layer, part), indices in by_place.items():
        look()
        for place, numbers in neuron_places(opened.anatomy, layer, part, indices):
            for number, line in zip(numbers, place.read().float().cpu(), strict=True):
                lines[(layer, indices[number]), part] = line
    return lines


# ---- neurons


def in_all(before: Lines, after: Lines) -> tuple[tuple[DeltaPart, ...], float | None]:
    """The change of each part over all neurons together, and the share of the squared change in the few neurons that
    changed most."""
    squares: dict[Part, list[float]] = {}
    by_site: dict[Site, float] = {}
    for (site, part), line in after.items():
        old = before[site, part]
        changed, was = (float(part.double().square().sum()) for part in (line - old, old))
        total = squares.setdefault(part, [0.0, 0.0])
        total[0], total[1] = total[0] + changed, total[1] + was
        by_site[site] = by_site.get(site, 0.0) + changed
    parts = tuple(_part(part, changed**0.5, was**0.5) for part, (changed, was) in squares.items())
    whole = sum(by_site.values())
    strongest = sum(sorted(by_site.values(), reverse=True)[:MOST])
    return parts, strongest / whole if whole else None


def of_neurons(
    opened: OpenModel, sites: Sequence[Site], before: Lines, after: Lines, pushes: Sequence[DeltaPush | None], k: int
) -> list[NeuronDelta]:
    """What the changes of some neurons read, combined with what they push, which is given."""
    read = _read(opened, sites, before, after, k)
    return [
        NeuronDelta(
            parts=tuple(_told(site, part, before, after, read) for part in parts_of(opened.anatomy, *site)), push=push
        )
        for site, push in zip(sites, pushes, strict=True)
    ]


def column_changes(opened: OpenModel, sites: Sequence[Site], before: Lines, after: Lines) -> Tensor:
    """What the changes of the neurons' columns write into the residual stream, `[n, d_model]`, up to a factor each."""
    changed = [
        _written(opened.anatomy, layer, "down", (after[(layer, index), "down"] - before[(layer, index), "down"])[None])
        for layer, index in sites
    ]
    return torch.cat(changed)


def pushes_of(opened: OpenModel, directions: Tensor, k: int) -> list[DeltaPush | None]:
    """What each direction of the residual stream, `[n, d_model]`, pushes; None for one that is zero."""
    if not len(directions):
        return []
    scores = predicted(opened.anatomy, _unit(directions).to(_dtype(opened))).float().cpu()
    pushed = extremes(opened.tokenizer, scores, k)
    return [
        _push(opened, direction, score, up, down) if bool(direction.any()) else None
        for direction, score, (up, down) in zip(directions, scores, pushed, strict=True)
    ]


def _part(part: Part, changed: float, was: float) -> DeltaPart:
    return DeltaPart(part=part, norm=changed, relative=changed / was if was else None)


def _told(
    site: Site,
    part: Part,
    before: Lines,
    after: Lines,
    read: dict[tuple[Site, Part], tuple[tuple[str, ...], tuple[str, ...]]],
) -> DeltaPart:
    old = before[site, part]
    embeddings, stream = read.get((site, part), ((), ()))
    described = _part(part, float((after[site, part] - old).norm()), float(old.norm()))
    return replace(described, embeddings=embeddings, stream=stream)


def _read(
    opened: OpenModel, sites: Sequence[Site], before: Lines, after: Lines, k: int
) -> dict[tuple[Site, Part], tuple[tuple[str, ...], tuple[str, ...]]]:
    """The tokens that the changed rows read, all rows of a layer at once, since each call reads all embeddings."""
    wanted: dict[int, list[tuple[Site, Part]]] = {}
    for site in sites:
        for part in parts_of(opened.anatomy, *site):
            if part not in ("down", "bias") and not torch.equal(after[site, part], before[site, part]):
                wanted.setdefault(site[0], []).append((site, part))
    by_line: dict[tuple[Site, Part], tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for layer, keys in wanted.items():
        look()
        rows = torch.stack([after[key] - before[key] for key in keys])
        by_line.update(zip(keys, _tokens(opened, layer, rows, k), strict=True))
    return by_line


def _tokens(opened: OpenModel, layer: int, rows: Tensor, k: int) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The tokens that directions of what a layer's MLP is given read: by their embeddings, and in the stream."""
    parts = opened.anatomy.layers[layer]
    home = home_of(parts.block if parts.read_norm is None else parts.read_norm)
    woken, stream = tokens_read(opened, layer, _unit(rows).to(home, _dtype(opened)), k)
    return [(up, along) for (up, _), (along, _) in zip(woken, stream, strict=True)]


def _push(opened: OpenModel, direction: Tensor, score: Tensor, up: tuple[str, ...], down: tuple[str, ...]) -> DeltaPush:
    """How far one token dominates a push. The mean is subtracted: a constant on all logits changes nothing."""
    apart = score.double() - score.double().mean()
    squares = apart.square()
    at = int(squares.argmax())
    deviation = float(squares.mean().sqrt())
    return DeltaPush(
        up=up,
        down=down,
        token=token_text(opened.tokenizer, at),
        z=float(apart[at]) / deviation if deviation else 0.0,
        concentration=float(squares[at] / squares.sum()) if deviation else 0.0,
        cosine=_cosine(opened, direction, at),
    )


def _cosine(opened: OpenModel, direction: Tensor, token: int) -> float | None:
    try:
        row = unembedding(opened.anatomy, [token])[0]
    except ModelError:  # packed
        return None
    return float(torch.cosine_similarity(row, direction.float().cpu(), dim=0))


def _unit(directions: Tensor) -> Tensor:
    """The directions scaled to a norm at which no epsilon and no narrow dtype affects the result."""
    lengths = directions.norm(dim=1, keepdim=True)
    return directions / lengths.clamp(min=1e-30) * directions.shape[1] ** 0.5


def _dtype(opened: OpenModel) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, opened.info.dtype)
    return dtype


@torch.no_grad()
def _written(anatomy: Anatomy, layer: int, writer: Writer, directions: Tensor) -> Tensor:
    """What directions `[n, d_model]` that a writer writes are in the residual stream, in float32 on the CPU."""
    norm = norm_behind(anatomy, layer, writer)
    if norm is None:
        return directions.float().cpu()
    like = next(norm.parameters(), directions)
    given = _unit(directions)[None].to(home_of(norm), torch.float32 if like.is_meta else like.dtype)
    return odd_part(norm, given)[0].float().cpu() * directions.any(1, keepdim=True)


# ---- whole matrices


@dataclass(frozen=True, eq=False)
class LowRankChange:
    """The change of a matrix as a product: `left` `[out, r]` times `right` `[r, in]`."""

    left: Tensor
    right: Tensor

    @torch.no_grad()
    def strongest(self, count: int) -> tuple[Tensor, Tensor, Tensor, float]:
        """The strongest singular directions of the product, `[n, out]` and `[n, in]`, their singular values, and the
        squared norm of all."""
        into, small = torch.linalg.qr(self.left.double())
        out, other = torch.linalg.qr(self.right.double().T)
        u, sizes, v = torch.linalg.svd(small @ other.T, full_matrices=False)
        count = min(count, len(sizes))
        return (into @ u[:, :count]).T.float(), (v[:count] @ out.T).float(), sizes[:count], float(sizes.square().sum())


def factors_of(opened: OpenModel, change: WeightChange) -> LowRankChange | None:
    """A change of a matrix as factors, computed from the current weights; None where it has no low rank: all but a
    subspace removed, or several matrices at once."""
    if isinstance(change, LowRank):
        return LowRankChange(change.left.float().cpu(), change.right.float().cpu())
    if isinstance(change, Projection) and not change.keeps:
        places = writer_places(opened.anatomy, change.layer, change.writer)
        if len(places) == 1:
            basis = change.basis.float().to(places[0].matrix.device)
            return LowRankChange(-basis.T.cpu(), _times(basis, places[0].matrix).cpu())
    return None


@torch.no_grad()
def _times(basis: Tensor, matrix: Tensor) -> Tensor:
    """A product with weights of any dtype, a few of their columns at a time."""
    return torch.cat([basis @ columns.float() for columns in matrix.split(4096, 1)], 1)


def of_matrix(opened: OpenModel, change: WeightChange, factors: LowRankChange, k: int) -> tuple[DeltaDirection, ...]:
    """The strongest directions of a matrix's change."""
    left, right, sizes, whole = factors.strongest(DIRECTIONS)
    kept = [number for number, size in enumerate(sizes.tolist()) if whole and size**2 > 1e-12 * whole]
    left, right, sizes = left[kept], right[kept], sizes[kept]
    if not kept:
        return ()
    layer, role, site = _role(opened, change)
    push: list[DeltaPush | None] = [None] * len(kept)
    if role in ("down", "attn_out"):
        push = pushes_of(opened, _written(opened.anatomy, layer, role, left), k)
        signs = torch.tensor([-1.0 if score is not None and score.z < 0 else 1.0 for score in push])
        push = [_turned(score) if score is not None and score.z < 0 else score for score in push]
    else:
        signs = left.gather(1, left.abs().argmax(1, keepdim=True))[:, 0].sign()
    left, right = left * signs[:, None], right * signs[:, None]
    read = _tokens(opened, layer, right, k) if role == "reader" else [((), ())] * len(kept)
    return tuple(
        DeltaDirection(
            size=float(sizes[number]),
            share=float(sizes[number]) ** 2 / whole,
            reads=_neurons(layer, site, right[number]) if role == "down" else (),
            embeddings=read[number][0],
            stream=read[number][1],
            writes=_neurons(layer, site, left[number]) if role == "reader" else (),
            push=push[number],
        )
        for number in range(len(kept))
    )


def _turned(push: DeltaPush) -> DeltaPush:
    """The push with the opposite sign."""
    return replace(push, up=push.down, down=push.up, z=-push.z, cosine=None if push.cosine is None else -push.cosine)


def _neurons(layer: int, site: DenseSite | None, line: Tensor) -> tuple[Unit, ...]:
    """The neurons that lie furthest along a direction over those of a site; a fused matrix has each of them twice."""
    if site is None:
        return ()
    strongest = line.abs().topk(min(2 * NEURONS, len(line))).indices.tolist()
    return tuple(Unit(layer, site.offset + local) for local in dict.fromkeys(at % site.width for at in strongest))[
        :NEURONS
    ]


#: What a matrix does: it makes neurons of the residual stream, or writes to it from neurons or from the attention.
Role = Literal["reader", "down", "attn_out", ""]


def _role(opened: OpenModel, change: WeightChange) -> tuple[int, Role, DenseSite | None]:
    """The layer of a changed matrix, what it does there, and the neurons it has to do with; "" where it does neither,
    as the projections of queries, keys and values."""
    if isinstance(change, Projection):
        sites = [site for site in opened.anatomy.layers[change.layer].sites if isinstance(site, DenseSite)]
        return change.layer, change.writer, sites[0] if len(sites) == 1 else None
    assert isinstance(change, LowRank)
    module = plain(module_named(opened.model, change.weight))
    for number, layer in enumerate(opened.anatomy.layers):
        if _is(layer.attention_output, module):
            return number, "attn_out", None
        for site in layer.sites:
            if isinstance(site, DenseSite) and _is(site.down, module):
                return number, "down", site
            if isinstance(site, DenseSite) and any(_is(reader, module) for _, reader in site.readers):
                return number, "reader", site
    return 0, "", None


def _is(there: nn.Module | None, module: nn.Module) -> bool:
    return there is not None and plain(there) is module
