"""The model's own logits: which of them a pass computes.

A model need not return what its head, the output embedding, computes. Families scale those scores or squash them with a
softcap, y = c · tanh(x / c), elementwise and after the head. So nothing here reads the head's output: a pass inside one
of these blocks returns the logits of the model itself, only fewer of them. How relevance passes from the logits back to
the scores is a rule (`sessions.circuits.rules.behind_the_head`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sessions.model.hooks import before, computing
from sessions.model.parts import Anatomy


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
    """Inside the block the head computes nothing: a pass is for what its layers hold. Its logits are `[rows, 0, …]`."""
    with before(anatomy.head, lambda hidden: hidden[:, :0]):
        yield
