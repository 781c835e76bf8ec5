"""Diverging: how far each arm of a comparison is from the first, step by step.

Texts of two arms soon differ, and after that their distributions are over different questions. So all arms are read
along one text, that of the first arm, with everything they do in force, and at each of its steps the next-token
distributions are held against each other: KL(first ‖ arm) = Σ p_first · log(p_first / p_arm), in nats, the divergence
that circuit discovery goes by (Conmy et al. 2023, arXiv:2304.14997, §3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sessions.events import Progress, Steps
from sessions.interventions.arms import Condition
from sessions.interventions.comparing import under
from sessions.model.cancel import Cancel
from sessions.model.hooks import watched
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel
from sessions.model.tokens import last_positions

#: Positions whose distributions are in memory at once.
AT_ONCE = 16


@torch.inference_mode()
def divergences(
    opened: OpenModel,
    encoded: Encoded,
    conditions: Sequence[Condition],
    text: Sequence[int],
    *,
    cancel: Cancel | None = None,
) -> Steps[tuple[tuple[float | None, ...], ...]]:
    """KL of every condition from the first at each token of a text that follows the prompt, `[conditions, tokens]`.

    Of an empty text, where the first arm ends at once, there is the one step that ends it. The first condition's are 0;
    None stands where logits are not numbers.
    """
    rows = len(conditions)
    found: list[list[float | None]] = []
    pieces = [encoded.ids, *(text[at : at + AT_ONCE] for at in range(0, len(text) - 1, AT_ONCE))]
    cache, first = None, 0
    with watched(opened.anatomy, cancel), under(opened, [(encoded, each) for each in conditions]):
        for number, piece in enumerate(pieces):
            yield Progress("comparing", len(found), len(text), "tokens")
            ids = torch.tensor([list(piece)] * rows, device=opened.model.device)
            positions = torch.arange(first, first + ids.shape[1], device=ids.device).expand(rows, -1)
            out = opened.model(
                input_ids=ids,
                position_ids=positions,
                attention_mask=ids.new_ones(rows, first + ids.shape[1]),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=last_positions(ids.shape[1] if number else 1, ids),
            )
            cache, first = out.past_key_values, first + ids.shape[1]
            found += divergence(out.logits)
    return tuple(zip(*found[: max(len(text), 1)], strict=True))


def divergence(logits: Tensor) -> list[list[float | None]]:
    """KL of each row from row 0 at each position, in nats, from logits `[rows, seq, vocab]`: `[seq, rows]`; None where
    logits are not numbers."""
    log_p = logits.float().log_softmax(-1)
    first = log_p[:1]
    terms = torch.where(first.isneginf(), 0.0, first.exp() * (first - log_p))
    return [[None if value != value else value for value in step] for step in terms.sum(-1).clamp(min=0).T.tolist()]
