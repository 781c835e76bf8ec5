"""Merging: adding an adapter's product to the weights, and measuring what rounding changes.

Merged, W x + w s B A x becomes (W + w s B A) x, computed in float32 and rounded once to the dtype of the weights. The
product is small compared with the weights: in bfloat16, with eight bits, part of it is lost. So the model reads a few
texts both ways and two numbers are reported: at how many positions the likeliest next token differs, and the distance
of the logits, a root mean square over the likeliest tokens of each position in units of the spread of all. A distance
that rounding does not explain is refused: something on the ledger does not commute with the merge (see `commuting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.edits.adapters import Adapter, Disabled
from sessions.edits.edit import LowRank
from sessions.errors import ModelError
from sessions.events import Progress, Steps
from sessions.model.hooks import watched
from sessions.model.opening import OpenModel
from sessions.model.tokens import plain_ids
from sessions.texts.corpus import Corpus

#: Paragraphs that are read beside the prompt, and tokens of each.
TEXTS, TOKENS = 8, 64
#: Likeliest tokens of a position whose logits are held against each other.
KEPT = 64
#: How far logits of a model of one layer may be apart by rounding, in units of its dtype's, and of any. Measured: ten
#: with three layers, fifty with thirty, and a twentieth of the spread in bfloat16; a DoRA that finds other weights
#: moves them by a tenth of it.
ROUNDING, FARTHEST = 32, 0.25


def merged(adapter: Adapter) -> tuple[Disabled | LowRank, ...]:
    """The changes that switch off an adapter's path and add its product to the weights.

    Raises:
        ModelError: it is no product of low rank alone.
    """
    contents = adapter.contents
    assert contents is not None
    if contents.is_dora or contents.has_bias:
        what = "is a DoRA, which scales the weights as well" if contents.is_dora else "has biases of its own"
        raise ModelError(f"adapter '{adapter.name}' {what}, and cannot be added to them", "leave it beside the weights")
    added = (
        LowRank(module, factor.b * (factor.scaling * adapter.weight), factor.a)
        for module, factor in contents.factors.items()
    )
    return Disabled(adapter.name), *added


def texts(opened: OpenModel, prompt: Sequence[int] = ()) -> list[list[int]]:
    """The texts to compare on: a prompt, if there is one, and the first paragraphs of the built-in corpus."""
    paragraphs = (plain_ids(opened.tokenizer, text) for text in Corpus("").documents())
    longest = min(TOKENS, opened.anatomy.context or TOKENS)
    samples = [ids[:longest] for ids in islice(paragraphs, TEXTS)]
    return [ids for ids in (list(prompt), *samples) if ids]


class PredictedTokens(NamedTuple):
    """A model's predictions at each position of a text: its likeliest next token, some tokens `[positions, k]` with
    their logits, and the spread of all logits there."""

    choice: Tensor
    tokens: Tensor
    logits: Tensor
    spread: Tensor


@torch.inference_mode()
def said(
    opened: OpenModel, read: Sequence[Sequence[int]], cancel: Cancel | None, like: Sequence[PredictedTokens] = ()
) -> Steps[list[PredictedTokens]]:
    """The model's predictions in each text, for its likeliest tokens or those listed in `like`."""
    predictions = []
    with watched(opened.anatomy, cancel):
        for number, ids in enumerate(read):
            yield Progress("comparing next tokens", number, len(read), "texts")
            batch = torch.tensor([list(ids)], device=opened.device)
            logits = opened.model(batch, use_cache=False).logits[0].float()
            tokens = like[number].tokens.to(logits.device) if like else logits.topk(min(KEPT, logits.shape[-1])).indices
            kept = (logits.argmax(-1), tokens, logits.gather(-1, tokens), logits.std(-1))
            predictions.append(PredictedTokens(*(tensor.cpu() for tensor in kept)))
    return predictions


class Difference(NamedTuple):
    """At how many positions, of how many, the likeliest tokens differ, and the distance of the logits."""

    changed: int
    positions: int
    apart: float

    def is_rounding(self, opened: OpenModel) -> bool:
        """Whether rounding explains it; rounding errors grow with the square root of the number of layers."""
        smallest = torch.finfo(opened.model.dtype).eps
        return self.apart <= min(FARTHEST, ROUNDING * smallest * opened.anatomy.n_layers**0.5)


def differing(before: Sequence[PredictedTokens], after: Sequence[PredictedTokens]) -> Difference:
    """How `after`, for the tokens listed in `before`, differs from `before`."""
    pairs = list(zip(before, after, strict=True))
    changed = sum(int((one.choice != two.choice).sum()) for one, two in pairs)
    squares = sum(float((one.logits - two.logits).square().mean(-1).sum()) for one, two in pairs)
    spread = sum(float(one.spread.square().sum()) for one in before)
    return Difference(changed, sum(len(one.choice) for one in before), (squares / spread) ** 0.5 if spread else 0.0)
