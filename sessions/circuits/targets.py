"""Targets as functions of the logits: what is attributed, traced and measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sessions.circuits.circuit import Target


def value(logits: Tensor, ids: Sequence[int], other: int | None = None, *, sequence: bool = False) -> Tensor:
    """The log-probability of a sequence of tokens, or the last position's logit of the first, minus that of `other`.

    Args:
        logits: raw logits of the positions that are read, `[kept, vocab]`: as many as the sequence has tokens, else 1.
    """
    if sequence:
        wanted = torch.tensor(list(ids), device=logits.device)
        return logits.log_softmax(-1).gather(1, wanted[:, None]).sum()
    last = logits[-1]
    return last[ids[0]] if other is None else last[ids[0]] - last[other]


def value_of(target: Target, logits: Tensor) -> Tensor:
    """The target's value, as of `value`."""
    other = None if target.counterfactual is None else target.counterfactual.id
    return value(logits, [token.id for token in target.tokens], other, sequence=target.sequence)
