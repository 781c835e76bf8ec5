"""The distribution of the next token: read off once, shown as the likeliest or as chosen tokens."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sessions.model.cancel import Cancel
from sessions.model.finite import check_finite
from sessions.model.hooks import watched
from sessions.model.info import TokenChance
from sessions.model.parts import Anatomy
from sessions.model.tokens import token_text


def next_logits(model: PreTrainedModel, anatomy: Anatomy, ids: Iterable[int], cancel: Cancel | None = None) -> Tensor:
    """The model's logits after `ids`, `[vocab]`, in float32.

    Raises:
        ModelError: they are no numbers; the message names the layer, or another part, that was the first to give none.
    """
    ids = list(ids)
    batch = torch.tensor([ids], device=model.device)
    with torch.inference_mode(), watched(anatomy, cancel):
        logits = model(input_ids=batch, use_cache=False, logits_to_keep=1).logits[0, -1].float()
        check_finite(model, anatomy, ids, logits)
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
    found = [TokenChance(i, token_text(tokenizer, i), p, logit, rank) for i, p, logit, rank in rows]
    return tuple(sorted(found, key=lambda chance: chance.rank))
