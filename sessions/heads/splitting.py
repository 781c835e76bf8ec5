"""The score of a head before the softmax, split into the parts of both residual streams.

A score is the product of a query and a key, and with the norms' scales held as they are, both are linear in the
stream: score = (Q · x + q₀)·(K · y + k₀) · scale. With x and y the sums of what embeddings, heads and MLPs below have
written, it is the sum over all pairs of a part of the query's stream and a part of the source's (a QK circuit of
Elhage et al. 2021, A mathematical framework for transformer circuits; as direct paths, `attention attribution` of other
tools). What is constant, biases and rotary's constants, is a part of its own, so the pairs sum to the score exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sessions.heads.findings import PairOfParts, PartOfScore, Source, SplitScore
from sessions.heads.maps import HeadMaps, LinearMap
from sessions.heads.stream_parts import BIAS, ROUNDING, StreamParts

#: The part that comes from no stream: biases of queries and keys.
CONSTANT = "constants"


def pairs_of(maps: HeadMaps, parts: StreamParts) -> tuple[tuple[str, ...], Tensor]:
    """What each pair of parts makes of the score of each source, `[sources, query parts, source parts]`.

    The sources are `maps.positions`, the query's own last; `parts` are those of the stream there.
    """
    names = (*parts.names, CONSTANT)
    asked = _through(maps.query, parts.states[:, -1:])
    offered = _through(maps.key, parts.states)
    return names, torch.einsum("pd,jrd->jpr", asked[0], offered) * maps.scaling


def _through(linear: LinearMap, states: Tensor) -> Tensor:
    """What each part makes of the vector, and the constants: `[positions, parts + 1, d]`."""
    made = torch.einsum("jdm,pjm->jpd", linear.matrix, states)
    return torch.cat([made, linear.constant[:, None]], 1)


def split_scores(
    maps: HeadMaps, parts: StreamParts, tokens: Sequence[str], most: int, sources: Sequence[int]
) -> tuple[SplitScore, ...]:
    """The split of the score of each of `sources`, which are among the maps' positions, the largest parts first."""
    names, pairs = pairs_of(maps, parts)
    names, pairs = _without_zeros(names, pairs)
    return tuple(
        _split(names, pairs[maps.positions.index(source)], _source(maps, tokens, source), most) for source in sources
    )


def _without_zeros(names: tuple[str, ...], pairs: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """Without biases and rounding where there are none."""
    size = pairs.abs().amax((0, 1)) + pairs.abs().amax((0, 2))
    negligible = 1e-6 * float(size.max())
    bare = (BIAS, ROUNDING, CONSTANT)
    kept = [at for at, name in enumerate(names) if name not in bare or float(size[at]) > negligible]
    return tuple(names[at] for at in kept), pairs[:, kept][:, :, kept]


def _source(maps: HeadMaps, tokens: Sequence[str], position: int) -> Source:
    return Source(position, tokens[position], float(maps.weights[position]), float(maps.scores[position]))


def _split(names: Sequence[str], pairs: Tensor, source: Source, most: int) -> SplitScore:
    sides = []
    for values in (pairs.sum(1), pairs.sum(0)):
        largest = values.abs().argsort(descending=True)[:most].tolist()
        listed = tuple(PartOfScore(names[at], float(values[at])) for at in largest)
        sides.append((listed, (source.score or 0.0) - sum(part.value for part in listed)))
    flat = pairs.flatten().abs().argsort(descending=True)[:most].tolist()
    strongest = (divmod(at, len(names)) for at in flat)
    return SplitScore(
        source_at=source,
        query=sides[0][0],
        query_rest=sides[0][1],
        source=sides[1][0],
        source_rest=sides[1][1],
        pairs=tuple(PairOfParts(names[p], names[r], float(pairs[p, r])) for p, r in strongest),
    )
