"""What a neuron reads: the rows of its gate and up projections, from two sides.

On the embedding side, the tokens whose embedding alone, after the MLP's norm, lies furthest along the row: what wakes
the neuron in the first layers (Geva et al. 2021, arXiv:2012.14913, call these keys). On the side of the logit lens, the
tokens that a residual stream along the row would predict: what the model is about to say when a late neuron wakes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sessions.directions.findings import Reads
from sessions.directions.lens import Pushed, extremes, through_head
from sessions.errors import ModelError
from sessions.model.homes import weight_of
from sessions.model.linear import carried_back
from sessions.model.opening import OpenModel
from sessions.model.units import Neuron

#: Embeddings that are read at once.
_AT_ONCE = 8192


@torch.inference_mode()
def reads(opened: OpenModel, neuron: Neuron, k: int) -> tuple[Reads, ...]:
    """What each of the neuron's rows reads, k tokens a side; none in families whose projections are not known."""
    anatomy = opened.anatomy
    rows = anatomy.read_rows(*neuron.site)
    if not rows:
        return ()
    column = anatomy.down_column(*neuron.site)
    stacked = torch.stack(list(rows.values()))
    woken, predicted = tokens_read(opened, neuron.layer, stacked, k)
    return tuple(
        Reads(
            name=name,
            norm=float(row.float().norm()),
            along_output=float(torch.cosine_similarity(row.float(), column.float().to(row.device), dim=0)),
            embeddings=embeddings,
            stream=stream,
        )
        for (name, row), embeddings, stream in zip(rows.items(), woken, predicted, strict=True)
    )


@torch.inference_mode()
def tokens_read(opened: OpenModel, layer: int, rows: Tensor, k: int) -> tuple[list[Pushed], list[Pushed]]:
    """For each direction in what a layer's MLP is given, `[n, d_model]`, the tokens whose embedding lies furthest along
    it and against it, and those that a residual stream along it would predict and would not."""
    woken = extremes(opened.tokenizer, _embeddings_along(opened, layer, rows), k)
    return woken, _in_the_stream(opened, layer, rows, k)


def _embeddings_along(opened: OpenModel, layer: int, rows: Tensor) -> Tensor:
    """How far each token's embedding, after the norm, lies along each row: `[rows, vocab]` in float32."""
    norm = opened.anatomy.layers[layer].read_norm
    weight = weight_of(opened.model.get_input_embeddings(), "weight")
    parts = []
    for part in weight.split(_AT_ONCE):
        normed = part.to(rows) if norm is None else norm(part.to(rows)[None])[0]
        parts.append(rows.float() @ normed.float().T)
    return torch.cat(parts, 1)


def _in_the_stream(opened: OpenModel, layer: int, rows: Tensor, k: int) -> list[Pushed]:
    """What a residual stream along each row would predict: the rows through the gain of the norm that stands between.

    Nothing where that norm does more than scale.
    """
    norm = opened.anatomy.layers[layer].read_norm
    try:
        directions = rows if norm is None else carried_back(norm, rows.float().cpu()).to(rows)
    except ModelError:
        return [((), ())] * len(rows)
    return through_head(opened.anatomy, opened.tokenizer, directions, k)
