"""The card of a neuron: what it reads, what it writes, and what it did in one prompt, position by position.

*Writes*: its down column, through the final norm and the unembedding (`lens`).
*Reads*: the rows of its gate and up projections, from two sides. On the embedding side, the tokens whose embedding
alone, after the MLP's norm, lies furthest along the row: what wakes the neuron in the first layers (Geva et al. 2021
call these keys). On the side of the logit lens, the tokens that a residual stream along the row would predict: what
the model is about to say when a late neuron wakes.
*Did*: activation and attribution at each position from one forward and one backward pass, and the exact effect of
switching it off there, alone, where its attribution is strongest (`verification`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.attribution import Attribution
from sessions.circuits.circuit import Neuron, Target
from sessions.circuits.verification import verify
from sessions.directions.lens import Pushed, extremes, through_head
from sessions.errors import ModelError
from sessions.events import Steps
from sessions.model.homes import weight_of
from sessions.model.linear import carried_back
from sessions.model.opening import OpenModel
from sessions.results import Moment, Reads

#: Positions whose exact effect is measured, the strongest attributions first.
MEASURED = 48
#: Embeddings that are read at once.
_AT_ONCE = 8192


def moments(attribution: Attribution, tokens: Sequence[str], neuron: Neuron) -> tuple[Moment, ...]:
    """What the neuron was and what is attributed to it at each position that it was computed at, in order.

    In a mixture of experts these are the positions that were sent to its expert.
    """
    found: list[Moment] = []
    for site in attribution.sites:
        if site.layer != neuron.layer:
            continue
        width = site.relevance.shape[1]
        rows = ((site.offsets <= neuron.index) & (neuron.index < site.offsets + width)).nonzero()[:, 0]
        columns = neuron.index - site.offsets[rows]
        gathered = zip(
            site.positions[rows].tolist(),
            site.activation[rows, columns].float().tolist(),
            site.relevance[rows, columns].tolist(),
            strict=True,
        )
        found += [Moment(position, tokens[position], act, value) for position, act, value in gathered]
    return tuple(sorted(found, key=lambda moment: moment.position))


def effects(
    opened: OpenModel,
    ids: Sequence[int],
    neuron: Neuron,
    target: Target,
    positions: Sequence[int],
    cancel: Cancel | None = None,
) -> Steps[tuple[dict[int, float], float]]:
    """The exact effect of the neuron at zero, alone: at each of some positions, and at all of the prompt's at once."""
    places = [*(Neuron(neuron.layer, neuron.index, position) for position in positions), Neuron(*neuron.site)]
    found = yield from verify(opened, ids, places, target, cancel=cancel)
    *each, everywhere = found.effects
    return dict(zip(positions, each, strict=True)), everywhere


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
