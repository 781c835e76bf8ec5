"""Computes the distribution of the next token, and reads the likeliest or chosen tokens off it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sessions.cancel import Cancel
from sessions.model.finite import not_finite
from sessions.model.hooks import watched
from sessions.model.info import TokenChance
from sessions.model.opening import OpenModel
from sessions.model.tokens import token_text


def next_logits(opened: OpenModel, ids: Sequence[int], cancel: Cancel | None = None) -> Tensor:
    """The model's logits after `ids`, `[vocab]`, in float32.

    Raises:
        NotFinite: a logit is infinite or NaN; the message says at which layer that begins.
    """
    batch = torch.tensor([list(ids)], device=opened.device)
    with torch.inference_mode(), watched(opened.anatomy, cancel):
        logits: Tensor = opened.model(input_ids=batch, use_cache=False, logits_to_keep=1).logits[0, -1].float()
    if not bool(logits.max().isfinite()):
        raise not_finite(opened, [ids], "the distribution of the next token")
    return logits


def likeliest(logits: Tensor, k: int) -> tuple[int, ...]:
    """Ids of the k largest of `logits`, `[vocab]`, largest first."""
    return tuple(logits.topk(min(k, len(logits))).indices.tolist())


def chances(tokenizer: PreTrainedTokenizerBase, logits: Tensor, ids: Iterable[int]) -> tuple[TokenChance, ...]:
    """Probability, logit and rank of each of `ids` under `logits`, `[vocab]`; the likeliest first."""
    wanted = torch.tensor(list(ids), device=logits.device)
    logits = logits.float()
    values = logits[wanted]
    probabilities = logits.softmax(-1)[wanted]
    ascending = logits.sort().values
    ranks = 1 + len(logits) - torch.searchsorted(ascending, values, right=True)
    rows = zip(wanted.tolist(), probabilities.tolist(), values.tolist(), ranks.tolist(), strict=True)
    tokens = [TokenChance(i, token_text(tokenizer, i), p, logit, rank) for i, p, logit, rank in rows]
    return tuple(sorted(tokens, key=lambda token: token.rank))
