"""Reaching: whether what stands at a position can change what the model says, from a layer on.

Later tokens see a position only by its keys and values. Where the layers from some one on take these from layers below
(shared keys and values), or where no attention follows at all, nothing that is put there is seen by anyone else: an
injection would do nothing, and say so only by a flat result. This is measured, not read off a configuration: the state
is replaced by noise, and the logits after it are compared with those of the same pass without, bit by bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.interventions.answering import ConditionedPrompt, running_rows
from sessions.model.hooks import StateSite, watched
from sessions.model.opening import OpenModel
from sessions.patching.injecting import Injection, injected, random_like

#: The norm of the noise.
_LOUD = 100.0


def reaches(
    opened: OpenModel,
    asked: ConditionedPrompt,
    layer: int,
    site: StateSite,
    position: int,
    cancel: Cancel | None = None,
) -> bool:
    """Whether a site of a layer at this position can change a logit after it: of the last position, its own logits."""
    return not torch.equal(
        _after(opened, asked, position, None, cancel), _after(opened, asked, position, (layer, site), cancel)
    )


def reaches_below(
    opened: OpenModel,
    asked: ConditionedPrompt,
    site: StateSite,
    position: int,
    limit: int,
    cancel: Cancel | None = None,
) -> int:
    """The first layer, up to `limit`, at which the position can change nothing any more; `limit` where it can at all of
    them. Found by halving: what a layer does not pass on, no layer above it does."""
    plain = _after(opened, asked, position, None, cancel)
    low, high = 0, limit
    while low < high:
        middle = (low + high) // 2
        if torch.equal(plain, _after(opened, asked, position, (middle, site), cancel)):
            high = middle
        else:
            low = middle + 1
    return low


@torch.inference_mode()
def _after(
    opened: OpenModel,
    asked: ConditionedPrompt,
    position: int,
    corrupted: tuple[int, StateSite] | None,
    cancel: Cancel | None,
) -> Tensor:
    """Logits after a position, `[positions, vocab]`, its state replaced by noise at a site, or not."""
    encoded, _ = asked
    ids = torch.tensor([encoded.ids], device=opened.device)
    first = min(position + 1, len(encoded.ids) - 1)
    kept = slice(first, len(encoded.ids))
    rows: list[list[Injection]] = [[]]
    if corrupted is not None:
        noise = random_like(torch.full((opened.anatomy.d_model,), _LOUD), position)
        rows[0].append(Injection(*corrupted, position, noise))
    with watched(opened.anatomy, cancel), injected(opened.anatomy, rows), running_rows(opened, [asked]):
        logits: Tensor = opened.model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
    return logits[0]
