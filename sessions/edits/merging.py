"""Merging: an adapter's product put into the weights, and what rounding makes of it.

Merged, W x + w s B A x becomes (W + w s B A) x, computed in float32 and rounded once to the dtype of the weights. The
product is small beside the weights: in bfloat16, with eight bits, part of it is lost. So it is counted at how many
positions of a few texts the model's first choice of a next token is another one than with the adapter beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from sessions.atlas.corpus import Corpus
from sessions.edits.adapters import Adapter, Closed
from sessions.edits.edit import LowRank
from sessions.errors import ModelError
from sessions.events import Progress, Steps
from sessions.model.cancel import Cancel
from sessions.model.hooks import watched
from sessions.model.opening import OpenModel
from sessions.model.tokens import plain_ids

#: Paragraphs that are read beside the prompt, and tokens of each.
TEXTS, TOKENS = 8, 64


def merged(adapter: Adapter) -> tuple[Closed | LowRank, ...]:
    """The changes that close an adapter's path and put its product into the weights.

    Raises:
        ModelError: it is no product of low rank alone.
    """
    contents = adapter.contents
    assert contents is not None
    if contents.is_dora or contents.has_bias:
        what = "is a DoRA, which scales the weights as well" if contents.is_dora else "has biases of its own"
        raise ModelError(f"adapter '{adapter.name}' {what}, and cannot be added to them", "leave it beside the weights")
    added = (
        LowRank(module, each.b * (each.scaling * adapter.weight), each.a) for module, each in contents.factors.items()
    )
    return Closed(adapter.name), *added


def texts(opened: OpenModel, prompt: Sequence[int] = ()) -> list[list[int]]:
    """What choices are compared on: a prompt, if there is one, and the first paragraphs of the built-in corpus."""
    paragraphs = (plain_ids(opened.tokenizer, text) for text in Corpus("").documents())
    longest = min(TOKENS, opened.anatomy.context or TOKENS)
    found = [ids[:longest] for ids in islice(paragraphs, TEXTS)]
    return [ids for ids in (list(prompt), *found) if ids]


@torch.inference_mode()
def choices(opened: OpenModel, read: Sequence[Sequence[int]], cancel: Cancel | None) -> Steps[list[Tensor]]:
    """The likeliest next token at each position of each text, `[positions]`."""
    found = []
    with watched(opened.anatomy, cancel):
        for number, ids in enumerate(read):
            yield Progress("comparing next tokens", number, len(read), "texts")
            logits = opened.model(torch.tensor([list(ids)], device=opened.model.device), use_cache=False).logits
            found.append(logits[0].argmax(-1).cpu())
    return found


def differing(before: Sequence[Tensor], after: Sequence[Tensor]) -> tuple[int, int]:
    """At how many positions choices differ, and of how many."""
    changed = sum(int((first != second).sum()) for first, second in zip(before, after, strict=True))
    return changed, sum(map(len, before))
