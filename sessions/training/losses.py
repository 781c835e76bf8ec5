"""Computes the weighted and the plain loss of a sample, in nats a token.

    weighted    Σ w_t · CE_t / Σ w_t        the training loss; CE_t is the cross-entropy of a token of the reply
    plain       Σ CE_t / n                  comparable between runs with different weights

One pass computes both, with the logits of the reply only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sessions.model.masks import unpadded
from sessions.model.opening import OpenModel
from sessions.training.samples import Lesson


class Losses(NamedTuple):
    """The losses of one sample, in nats a token."""

    weighted: float
    plain: float


def loss_of(opened: OpenModel, lesson: Lesson) -> Tensor:
    """The weighted loss of a sample in the model's current state, with a gradient."""
    return losses_of(opened, lesson)[0]


def losses_of(opened: OpenModel, lesson: Lesson) -> Tensor:
    """The weighted and the plain loss of a sample in the model's current state, `[2]`; the first has a gradient."""
    ids = torch.tensor([lesson.ids], device=opened.device)
    before = slice(lesson.start - 1, len(lesson.ids) - 1)
    with unpadded():
        logits = opened.model(input_ids=ids, use_cache=False, logits_to_keep=before).logits[0].float()
    losses = functional.cross_entropy(logits, ids[0, lesson.start :].to(logits.device), reduction="none")
    weights = torch.tensor(lesson.weights, device=losses.device)
    return torch.stack([(losses * weights).sum() / weights.sum(), losses.detach().mean()])
