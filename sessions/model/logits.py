"""Which of the model's logits a pass computes.

The logits of a model are not always the output of its head, the output embedding: families scale it or apply a softcap,
y = c · tanh(x / c), elementwise and after the head. So nothing here reads the head's output: a pass inside one of these
blocks returns the model's own logits, only fewer of them. How relevance passes from the logits to the head's output is
a rule (`sessions.circuits.rules.behind_the_head`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sessions.model.hooks import before, computing
from sessions.model.parts import Anatomy
from sessions.model.target import Target


@contextmanager
def only_tokens(anatomy: Anatomy, ids: Sequence[int]) -> Iterator[None]:
    """Inside the block the model's logits are those of these tokens alone, `[rows, kept, len(ids)]`, in their order."""
    plain = anatomy.head.forward  # a block within this one may replace it
    with computing(anatomy.head, lambda hidden: anatomy.scores(hidden, ids, plain)):
        yield


@contextmanager
def only_at_ends(anatomy: Anatomy, lengths: Sequence[int]) -> Iterator[None]:
    """Inside the block, passes over rows padded on the right give logits after each row's last token: `[rows, 1, …]`.

    The pass itself has to keep all positions (`last_positions(longest, ids)`).
    """
    ends = torch.tensor(lengths) - 1

    def at_end(hidden: Tensor) -> Tensor:
        return hidden[torch.arange(len(hidden), device=hidden.device), ends.to(hidden.device)][:, None]

    with before(anatomy.head, at_end):
        yield


@contextmanager
def no_logits(anatomy: Anatomy) -> Iterator[None]:
    """Inside the block the head computes nothing, for passes whose logits are not needed: they are `[rows, 0, …]`."""
    with before(anatomy.head, lambda hidden: hidden[:, :0]):
        yield


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


def strongest_other(logits: Tensor, token: int) -> int:
    """The token with the largest logit, `[vocab]`, but one."""
    best, second = logits.topk(2).indices.tolist()
    return int(second if best == token else best)
