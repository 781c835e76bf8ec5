"""Comparing: one prompt answered under several interventions, as the rows of one batch.

All arms read the same ids and, when sampling, meet the same random numbers, so what differs between
two texts is what the intervention did. A batch of eight costs about a quarter of eight runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sessions.circuits.circuit import Neuron, Target
from sessions.errors import ModelError
from sessions.events import Progress, Steps, Text
from sessions.interventions.arms import Arm, Condition
from sessions.interventions.treating import Treatment, treated
from sessions.model.cancel import Cancel
from sessions.model.distribution import chances, likeliest
from sessions.model.generation import Decoding, Row, generate
from sessions.model.hooks import raw_logits, watched
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel
from sessions.model.tokens import last_positions

#: Likeliest next tokens that are kept of each arm.
KEPT = 10


def compare(
    opened: OpenModel,
    encoded: Encoded,
    neurons: tuple[Neuron, ...],
    conditions: Sequence[Condition],
    decoding: Decoding,
    *,
    target: Target | None = None,
    streamed: bool = True,
    cancel: Cancel | None = None,
) -> Steps[tuple[tuple[Arm, ...], Tensor]]:
    """Generate under every condition; yields the texts as they grow.

    Returns the finished arms, in the order of `conditions`, and the logits of the first generated
    position, `[arms, vocab]`. Every arm lists the likeliest tokens of all arms, so that they compare.

    Raises:
        UsageError: a neuron the model does not have.
        ModelError: an arm's logits are not numbers.
    """
    rows = [Treatment(neurons if c.multiplier != 1 else (), c.multiplier) for c in conditions]
    with watched(opened.anatomy, cancel), treated(opened.anatomy, rows):
        with raw_logits(opened.anatomy) as raw:
            steps = generate(opened.model, opened.tokenizer, [encoded.ids] * len(rows), decoding)
            step = next(steps)
        first, values = step.logits.float(), _values(opened, encoded, target, raw[0], len(rows))
        _refuse_nan(first, conditions)
        while True:
            if streamed:
                yield from (
                    Text(piece, condition.name)
                    for condition, piece in zip(conditions, step.pieces, strict=True)
                    if piece
                )
            else:
                yield Progress("generating", step.number + 1, decoding.max_tokens, "tokens")
            try:
                step = next(steps)
            except StopIteration as stop:
                return _arms(opened, conditions, stop.value, first, target, values), first


@torch.inference_mode()
def _values(opened: OpenModel, encoded: Encoded, target: Target | None, raw: Tensor, rows: int) -> list[float | None]:
    """The target's value in each row: from the raw logits of the prefill, or by reading the sequence."""
    if target is None:
        return [None] * rows
    wanted = [token.id for token in target.tokens]
    if target.sequence:
        ids = torch.tensor([[*encoded.ids, *wanted[:-1]]] * rows, device=opened.model.device)
        with raw_logits(opened.anatomy) as read:
            opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(len(wanted), ids))
        column = torch.tensor(wanted, device=ids.device)[None, :, None].expand(rows, -1, 1)
        return read[0].float().log_softmax(-1).gather(2, column).sum((1, 2)).tolist()
    values = raw[:, -1, wanted[0]].float()
    if target.counterfactual is not None:
        values = values - raw[:, -1, target.counterfactual.id].float()
    return values.tolist()


def _refuse_nan(logits: Tensor, conditions: Sequence[Condition]) -> None:
    for row, condition in zip(logits, conditions, strict=True):
        if row.isnan().any():
            whose = f"of '{condition.name}'" if condition.name else "of the model"
            raise ModelError(f"the logits {whose} are not numbers", "use a smaller multiplier, or --dtype float32")


def _arms(
    opened: OpenModel,
    conditions: Sequence[Condition],
    rows: Sequence[Row],
    first: Tensor,
    target: Target | None,
    values: Sequence[float | None],
) -> tuple[Arm, ...]:
    together = dict.fromkeys(i for logits in first for i in likeliest(logits, KEPT))
    chance = None if target is None else first.log_softmax(-1)[:, target.tokens[0].id].exp().tolist()
    return tuple(
        Arm(
            name=condition.name,
            multiplier=condition.multiplier,
            text=row.text,
            ids=tuple(row.ids),
            stopped=row.stopped,
            next_tokens=chances(opened.tokenizer, first[number], together),
            target=values[number],
            target_probability=None if chance is None else chance[number],
        )
        for number, (condition, row) in enumerate(zip(conditions, rows, strict=True))
    )
