"""Targets as functions of the logits: what is attributed, traced and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sessions.circuits.circuit import Target
from sessions.model.logits import only_tokens
from sessions.model.parts import Anatomy


def value(logits: Tensor, ids: Sequence[int], other: int | None = None, *, sequence: bool = False) -> Tensor:
    """The log-probability of a sequence of tokens, or the last position's logit of the first, minus that of `other`.

    Args:
        logits: those of the positions that are read, `[…, kept, vocab]`: as many as the sequence has tokens, else 1.

    Returns one value for each `…`.
    """
    if sequence:
        wanted = torch.tensor(list(ids), device=logits.device)[:, None].expand(*logits.shape[:-1], 1)
        return logits.log_softmax(-1).gather(-1, wanted).sum((-2, -1))
    last = logits[..., -1, :]
    return last[..., ids[0]] if other is None else last[..., ids[0]] - last[..., other]


def value_of(target: Target, logits: Tensor) -> Tensor:
    """The target's value, as of `value`."""
    other = None if target.counterfactual is None else target.counterfactual.id
    return value(logits, [token.id for token in target.tokens], other, sequence=target.sequence)


@contextmanager
def only_target(anatomy: Anatomy, target: Target) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside the block the model computes no logits but those that the target needs.

    Yields how the target's value is read off them: from `[rows, kept, …]` to `[rows]`, in float32.
    """
    if target.sequence:  # a probability needs the logits of all tokens
        yield lambda logits: value_of(target, logits.float())
        return
    ids = [target.tokens[0].id, *([] if target.counterfactual is None else [target.counterfactual.id])]
    with only_tokens(anatomy, ids):
        yield lambda logits: value(logits.float(), (0,), 1 if len(ids) == 2 else None)
