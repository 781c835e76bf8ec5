"""The logit lens of a neuron or a head: which tokens its output pushes up and down.

A neuron adds (activation × its down column) to the residual stream. Read through the final norm and the unembedding
(logit lens, nostalgebraist 2020; for MLP columns, Geva et al. 2022), that vector ranks the vocabulary. The norm's scale
depends on the rest of the stream, so only the ranking is shown, not the scores. The biases of norm and head push the
same tokens for every vector, and are left out.

What an attention head adds depends on where it looks: it is read in a text, at a position, as its slice times its part
of the output projection.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sessions.cancel import Cancel, look
from sessions.model.homes import home_of
from sessions.model.hooks import Change, on_neurons, only_to, together, watched
from sessions.model.linear import odd_part
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.places import norm_behind
from sessions.model.tokens import last_positions, token_text
from sessions.model.units import Unit

#: Tokens pushed up, and tokens pushed down.
Pushed = tuple[tuple[str, ...], tuple[str, ...]]

#: Neurons whose rankings of the whole vocabulary are in memory at once.
AT_ONCE = 64


@torch.inference_mode()
def pushed(anatomy: Anatomy, tokenizer: PreTrainedTokenizerBase, neurons: Sequence[Unit], k: int = 3) -> list[Pushed]:
    """For each neuron, the k tokens its output pushes up most and the k it pushes down most.

    A neuron with a negative activation writes the negative of its column; one whose activation is not known is taken as
    positive.
    """
    rows: list[Pushed] = []
    for start in range(0, len(neurons), AT_ONCE):
        look()
        part = neurons[start : start + AT_ONCE]
        home = home_of(anatomy.head)  # layers may be spread over several
        columns = torch.stack([anatomy.down_column(neuron.layer, neuron.index).to(home) for neuron in part])
        signs = torch.tensor([-1.0 if (neuron.activation or 0) < 0 else 1.0 for neuron in part])
        rows += through_head(anatomy, tokenizer, columns * signs[:, None].to(columns), k)
    return rows


@torch.inference_mode()
def pushed_by_heads(
    opened: OpenModel, ids: Sequence[int], heads: Sequence[Unit], k: int, cancel: Cancel | None = None
) -> list[Pushed]:
    """For each head at a position of a text, the k tokens its output there pushes up most and the k down most."""
    anatomy, text = opened.anatomy, torch.tensor([list(ids)], device=opened.device)
    slices: dict[int, Tensor] = {}

    def keep(layer: int) -> Change:
        def record(values: Tensor, _: object) -> Tensor:
            slices[layer] = values.reshape(-1, values.shape[-1])
            return values

        return record

    hooks = [on_neurons(anatomy.heads_of(layer), keep(layer)) for layer in {head.layer for head in heads}]
    with watched(anatomy, cancel), together(hooks), only_to(anatomy, max(head.layer for head in heads)):
        opened.model(input_ids=text, use_cache=False, logits_to_keep=last_positions(1, text))
    vectors = [_written(anatomy, head, slices[head.layer][head.counted(len(ids)).position]) for head in heads]
    return through_head(anatomy, opened.tokenizer, torch.stack(vectors), k)


def _written(anatomy: Anatomy, head: Unit, slices: Tensor) -> Tensor:
    """What a head adds to the residual stream, `[d_model]`, up to the scale of a norm behind it; `slices` are those of
    all heads, `[n_heads · d_head]`."""
    site, coordinates = anatomy.coordinates(head)
    alone = torch.zeros_like(slices)
    alone[list(coordinates)] = slices[list(coordinates)]
    written = odd_part(site.module, alone[None, None])
    norm = norm_behind(anatomy, head.layer, "attn_out")
    return (written if norm is None else odd_part(norm, written))[0, 0].to(home_of(anatomy.head))


@torch.inference_mode()
def through_head(anatomy: Anatomy, tokenizer: PreTrainedTokenizerBase, vectors: Tensor, k: int) -> list[Pushed]:
    """The k tokens that each direction of the residual stream, `[n, d_model]`, pushes up most and down most."""
    return extremes(tokenizer, predicted(anatomy, vectors), k)


@torch.inference_mode()
def predicted(anatomy: Anatomy, vectors: Tensor) -> Tensor:
    """The change of the logits, `[n, vocab]`, by directions of the residual stream alone, `[n, d_model]`.

    It is known up to a positive factor for each direction, since the final norm divides by the norm of the whole
    stream. The biases of norm and head are left out.
    """
    home = home_of(anatomy.head)  # layers may be spread over several
    return odd_part(lambda states: anatomy.head(anatomy.final_norm(states)), vectors.to(home)[:, None])[:, 0]


def extremes(tokenizer: PreTrainedTokenizerBase, scores: Tensor, k: int) -> list[Pushed]:
    """For each row of `scores`, `[n, vocab]`, the k tokens with the highest and the k with the lowest."""
    k = min(k, scores.shape[-1])
    high, low = scores.topk(k).indices.tolist(), scores.topk(k, largest=False).indices.tolist()
    texts = {i: token_text(tokenizer, i) for i in {i for row in high + low for i in row}}  # many push the same

    def texts_of(ids: list[int]) -> tuple[str, ...]:
        return tuple(texts[i] for i in ids)

    return [(texts_of(up), texts_of(down)) for up, down in zip(high, low, strict=True)]
