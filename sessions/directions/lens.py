"""The logit lens of a neuron: which tokens its output pushes up and down.

A neuron adds (activation × its down column) to the residual stream. Read through the final norm and the unembedding
(logit lens, nostalgebraist 2020; for MLP columns, Geva et al. 2022), that vector ranks the vocabulary. The norm's scale
depends on the rest of the stream, so only the ranking is shown, not the scores. The biases of norm and head push the
same tokens for every vector, and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sessions.cancel import look
from sessions.model.homes import home_of
from sessions.model.linear import odd_part
from sessions.model.parts import Anatomy
from sessions.model.tokens import token_text
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
