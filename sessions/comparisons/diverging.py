"""Diverging: the KL divergence of each arm of a comparison from the first, step by step.

The texts of two arms soon differ, and from then on their distributions are not comparable. So all arms read the text of
the first arm, each with its interventions in force, and their next-token distributions are compared at each step:
KL(first ‖ arm) = Σ p_first · log(p_first / p_arm), in nats, the divergence that circuit discovery uses (Conmy et al.
2023, arXiv:2304.14997, §3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.events import Progress, Steps
from sessions.interventions.answering import running_rows
from sessions.interventions.arms import Condition
from sessions.model.hooks import watched
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
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

    An empty text, where the first arm ends at once, has one step, the one that ends it. The first condition has 0; None
    stands where logits are not finite.
    """
    anatomy, rows = opened.anatomy, len(conditions)
    per_token: list[list[float | None]] = []
    ids = [*encoded.ids, *text[:-1]]
    cache, read = None, 0
    with watched(anatomy, cancel), running_rows(opened, [(encoded, condition) for condition in conditions]):
        for end in _ends(anatomy, len(encoded.ids), len(ids)):
            yield Progress("comparing", len(per_token), len(text), "tokens")
            if not anatomy.goes_on(read, end):
                cache, read = None, 0
            piece = torch.tensor([ids[read:end]] * rows, device=opened.device)
            kept = end - len(encoded.ids) - len(per_token) + 1
            with anatomy.as_long_as(end):
                out = opened.model(
                    input_ids=piece,
                    position_ids=torch.arange(read, end, device=piece.device).expand(rows, -1),
                    attention_mask=piece.new_ones(rows, end),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=last_positions(kept, piece),
                )
            cache, read = out.past_key_values, end
            per_token += divergence(out.logits)
    return tuple(zip(*per_token, strict=True))


def _ends(anatomy: Anatomy, prompt: int, length: int) -> Iterator[int]:
    """Where pieces of a text end, the first with the prompt. Within a piece, positions are encoded alike whatever the
    length, so that each distribution is that of a pass which ends there."""
    end = prompt
    while end < length:
        yield end
        begin = end
        while end < min(length, begin + AT_ONCE) and anatomy.encodes_alike(begin + 1, end + 1):
            end += 1
    yield end


def divergence(logits: Tensor) -> list[list[float | None]]:
    """KL of each row from row 0 at each position, in nats, from logits `[rows, seq, vocab]`: `[seq, rows]`; None where
    logits are not finite."""
    log_p = logits.float().log_softmax(-1)
    first = log_p[:1]
    terms = torch.where(first.isneginf(), 0.0, first.exp() * (first - log_p))
    return [[None if value != value else value for value in step] for step in terms.sum(-1).clamp(min=0).T.tolist()]
