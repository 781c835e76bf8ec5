"""Reaching: whether the state at a position can influence later tokens, from a layer on.

Later tokens see a position only through its keys and values. Where all higher layers take these from lower layers
(shared keys and values), or where no attention follows, no later token sees an injected state: an injection would do
nothing, and only a flat result would show it. This is measured, not read from a configuration: the state is replaced by
noise, and the logits after it are compared bit by bit with those of the unchanged pass.
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
    prompt: ConditionedPrompt,
    layer: int,
    site: StateSite,
    position: int,
    cancel: Cancel | None = None,
) -> bool:
    """Whether the state at this place can change a later logit or, at the last position, its own logits."""
    return not torch.equal(
        _after(opened, prompt, position, None, cancel), _after(opened, prompt, position, (layer, site), cancel)
    )


def reaches_below(
    opened: OpenModel,
    prompt: ConditionedPrompt,
    site: StateSite,
    position: int,
    limit: int,
    cancel: Cancel | None = None,
) -> int:
    """The first layer, up to `limit`, from which on the position cannot influence anything; `limit` where it can at all
    of them. Found by bisection: above a layer without influence no layer has any."""
    plain = _after(opened, prompt, position, None, cancel)
    low, high = 0, limit
    while low < high:
        middle = (low + high) // 2
        if torch.equal(plain, _after(opened, prompt, position, (middle, site), cancel)):
            high = middle
        else:
            low = middle + 1
    return low


@torch.inference_mode()
def _after(
    opened: OpenModel,
    prompt: ConditionedPrompt,
    position: int,
    corrupted: tuple[int, StateSite] | None,
    cancel: Cancel | None,
) -> Tensor:
    """Logits after a position, `[positions, vocab]`, with its state replaced by noise where `corrupted` is given."""
    encoded, _ = prompt
    ids = torch.tensor([encoded.ids], device=opened.device)
    first = min(position + 1, len(encoded.ids) - 1)
    kept = slice(first, len(encoded.ids))
    rows: list[list[Injection]] = [[]]
    if corrupted is not None:
        noise = random_like(torch.full((opened.anatomy.d_model,), _LOUD), position)
        rows[0].append(Injection(*corrupted, position, noise))
    with watched(opened.anatomy, cancel), injected(opened.anatomy, rows), running_rows(opened, [prompt]):
        logits: Tensor = opened.model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
    return logits[0]
