"""The same prompt in several states of the weights, without and with edits: the effect of an edit on a text.

Weights cannot differ between the rows of a batch, so the texts are written one after the other, with the same random
numbers. Then all states of the model read the text of the first, as in `comparisons.diverging`, and their distributions
are compared with that of the first at each step: KL(without ‖ with), in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from msgspec import structs
from torch import Tensor

from sessions.cancel import Cancel
from sessions.comparisons.diverging import divergence
from sessions.events import Progress, Steps
from sessions.interventions.answering import KEPT, compare, running_rows
from sessions.interventions.arms import Arm, Condition
from sessions.model.distribution import chances, likeliest
from sessions.model.generation import Decoding
from sessions.model.hooks import watched
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel
from sessions.model.target import Target
from sessions.model.tokens import last_positions

State = Callable[[], AbstractContextManager[None]]
"""A state of the weights, as a context manager."""


def beside(
    opened: OpenModel,
    encoded: Encoded,
    conditions: Sequence[Condition],
    states: Sequence[State],
    decoding: Decoding,
    *,
    target: Target | None = None,
    cancel: Cancel | None = None,
) -> Steps[tuple[tuple[Arm, ...], Tensor]]:
    """Answer the prompt in each state of the weights; the texts appear as they grow.

    Returns the arms, all but the first with their KL from it, and the logits of the first generated position, `[arms,
    vocab]`.
    """
    arms: list[Arm] = []
    logits: list[Tensor] = []
    for condition, state in zip(conditions, states, strict=True):
        with state():
            (arm,), row = yield from compare(opened, encoded, [condition], decoding, target=target, cancel=cancel)
        arms.append(arm)
        logits.append(row[0])
    read: list[Tensor] = []
    for condition, state in zip(conditions, states, strict=True):
        yield Progress("comparing", len(read), len(states), "texts")
        with state():
            read.append(_along(opened, encoded, condition, arms[0].ids, cancel))
    kl = [tuple(step) for step in zip(*divergence(torch.stack(read)), strict=True)]
    together = dict.fromkeys(token for row in logits for token in likeliest(row, KEPT))
    completions = (
        structs.replace(
            arm,
            next_tokens=chances(opened.tokenizer, row, together) if arm.next_tokens else (),
            kl=kl[number] if number else (),
        )
        for number, (arm, row) in enumerate(zip(arms, logits, strict=True))
    )
    return tuple(completions), torch.stack(logits)


@torch.inference_mode()
def _along(
    opened: OpenModel, encoded: Encoded, condition: Condition, text: Sequence[int], cancel: Cancel | None
) -> Tensor:
    """Logits at each token of a text that follows the prompt, `[tokens, vocab]`; for an empty text, those of the step
    that ends it."""
    ids = torch.tensor([[*encoded.ids, *text[:-1]]], device=opened.device)
    kept = last_positions(max(len(text), 1), ids)
    with watched(opened.anatomy, cancel), running_rows(opened, [(encoded, condition)]):
        logits: Tensor = opened.model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits[0]
    return logits
