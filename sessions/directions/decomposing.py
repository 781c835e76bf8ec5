"""Decomposition: which neurons a direction consists of, and which tokens it promotes.

A direction d in the residual stream is compared with the down columns w of the same layer's neurons, which are all that
this layer's MLP can write:

- the cosine of d with each w says which neurons are aligned with it;
- orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad 1993) says how few of them suffice: take the column with
  the largest cosine with the residual, project the residual off all columns taken, and repeat. The share of |d|² that
  n columns explain is that of their least squares fit. A layer has more neurons than the stream has dimensions, so
  enough columns explain any direction: a random direction is decomposed too, as a control.

For a vector over neurons, the neurons are the coordinates, and the shares are those of the largest squares.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.directions.findings import EXPLAINED_BY, Aligned, Direction
from sessions.directions.lens import through_head
from sessions.directions.vector import Vector, cosine, length
from sessions.events import Progress, Steps
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.units import Unit

#: Neurons that are named for each layer.
NAMED = 8
#: If less than this share of a column is outside the span of the others, that part is rounding.
_NOTHING = 1e-5


def decomposed(
    opened: OpenModel,
    vector: Vector,
    layers: Sequence[int] | None = None,
    *,
    tokens: int = 3,
    cancel: Cancel | None = None,
) -> Steps[tuple[Direction, ...]]:
    """The decomposition of a vector's directions, in the order of their layers.

    Args:
        layers: which of its layers; all if None.
        tokens: how many tokens to list that it pushes up, and down.

    Raises:
        ArtifactError: the vector was made on a model of another shape.
    """
    vector.check(opened.anatomy)
    rows = []
    chosen = vector.layers if layers is None else layers
    for number, layer in enumerate(chosen):
        yield Progress("taking it apart", number, len(chosen), "layers")
        if cancel is not None:
            cancel.look()
        rows.append(_direction(opened, vector, layer, tokens))
    return tuple(rows)


@torch.inference_mode()
def _direction(opened: OpenModel, vector: Vector, layer: int, tokens: int) -> Direction:
    anatomy, direction = opened.anatomy, vector.directions[layer]
    before = None if vector.site == "neurons" else vector.directions.get(layer - 1)
    random = torch.randn(len(direction), generator=torch.Generator().manual_seed(layer))
    if vector.site == "neurons":
        cosines = direction / (direction.norm() or 1.0)
        explained, chance = (_largest_squares(vector_) for vector_ in (direction, random))
        written = anatomy.written(layer, direction)
    else:
        units = unit_columns(anatomy, layer, range(anatomy.layers[layer].width))
        both = torch.stack([direction, random]).to(units)
        cosines = units @ both[0] / (both[0].norm() or 1.0)
        explained, chance = pursued(units, both)
        written = direction
    ((up, down),) = through_head(anatomy, opened.tokenizer, written[None].to(opened.model.dtype), tokens)
    return Direction(
        layer=layer,
        norm=length(direction),
        turned=None if before is None else cosine(direction, before),
        neurons=_strongest(layer, cosines),
        explained=explained,
        chance=chance,
        up=up,
        down=down,
    )


def unit_columns(anatomy: Anatomy, layer: int, indices: Sequence[int]) -> Tensor:
    """Down columns of some neurons of a layer, normalised unless they are zero, `[n, d_model]` in float32."""
    return torch.nn.functional.normalize(anatomy.down_columns(layer, indices).float(), dim=-1)


def pursued(units: Tensor, directions: Tensor) -> list[tuple[float, ...]]:
    """For each direction, `[m, d]`, the shares of |d|² that `EXPLAINED_BY` many of the `units`, `[n, d]`, explain.

    All directions are pursued at once, so that the columns are read once a step.
    """
    left = directions.clone()
    whole = directions.square().sum(-1)
    taken = torch.zeros(len(directions), 0, directions.shape[-1]).to(directions)  # [m, step, d], orthonormal
    shares = []
    for _ in range(min(max(EXPLAINED_BY), *units.shape)):
        columns = units[(left @ units.T).abs().argmax(1)]
        for _ in range(2):  # once more, against rounding
            columns = columns - torch.einsum("msd,ms->md", taken, torch.einsum("msd,md->ms", taken, columns))
        # A column within the span of those taken adds nothing: it becomes zero.
        length = columns.norm(dim=-1, keepdim=True)
        columns = torch.where(length > _NOTHING, columns / length.clamp(min=_NOTHING), 0.0)
        left = left - columns * (columns * left).sum(-1, keepdim=True)
        taken = torch.cat([taken, columns[:, None]], 1)
        shares.append(1 - left.square().sum(-1) / whole)
    by_direction = torch.stack(shares, 1).nan_to_num(0.0).clamp(0.0, 1.0).tolist()
    return [tuple(shares[min(count, len(shares)) - 1] for count in EXPLAINED_BY) for shares in by_direction]


def _largest_squares(direction: Tensor) -> tuple[float, ...]:
    squares = direction.double().square().sort(descending=True).values
    whole = float(squares.sum()) or 1.0
    return tuple(float(squares[:count].sum()) / whole for count in EXPLAINED_BY)


def _strongest(layer: int, cosines: Tensor) -> tuple[Aligned, ...]:
    best = cosines.abs().topk(min(NAMED, len(cosines))).indices.tolist()
    return tuple(Aligned(Unit(layer, index), float(cosines[index])) for index in best)
