"""What activates a neuron: the rows of its gate and up projections, as tokens, in two ways.

By embeddings: the tokens whose embeddings, after the MLP's norm, are most aligned with the row. They activate the
neuron in the first layers (Geva et al. 2021, arXiv:2012.14913, call these keys). By the logit lens: the tokens that a
residual stream along the row predicts. The model is about to say them when a late neuron is active.
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
from sessions.model.units import Unit

#: Embeddings that are read at once.
_AT_ONCE = 8192


@torch.inference_mode()
def reads(opened: OpenModel, neuron: Unit, k: int) -> tuple[Reads, ...]:
    """The tokens of each of the neuron's rows, k a side; empty in families whose projections are not known."""
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
    """The tokens of directions in the input of a layer's MLP, `[n, d_model]`.

    For each direction: the tokens whose embeddings are most aligned with it and most opposed, and the tokens that a
    residual stream along it predicts most and least.
    """
    woken = extremes(opened.tokenizer, _embeddings_along(opened, layer, rows), k)
    return woken, _in_the_stream(opened, layer, rows, k)


def _embeddings_along(opened: OpenModel, layer: int, rows: Tensor) -> Tensor:
    """The dot products of each row with each token's embedding after the norm, `[rows, vocab]` in float32."""
    norm = opened.anatomy.layers[layer].read_norm
    weight = weight_of(opened.model.get_input_embeddings(), "weight")
    parts = []
    for part in weight.split(_AT_ONCE):
        normed = part.to(rows) if norm is None else norm(part.to(rows)[None])[0]
        parts.append(rows.float() @ normed.float().T)
    return torch.cat(parts, 1)


def _in_the_stream(opened: OpenModel, layer: int, rows: Tensor, k: int) -> list[Pushed]:
    """The tokens that a residual stream along each row predicts: rows are multiplied by the gain of the MLP's norm.

    Empty if that norm does more than scale.
    """
    norm = opened.anatomy.layers[layer].read_norm
    try:
        directions = rows if norm is None else carried_back(norm, rows.float().cpu()).to(rows)
    except ModelError:
        return [((), ())] * len(rows)
    return through_head(opened.anatomy, opened.tokenizer, directions, k)
