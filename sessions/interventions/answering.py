"""Comparing: texts generated under several conditions, as the rows of one batch.

Each row may have its own prompt and condition. All arms of a comparison read the same ids and, when sampling, get the
same random numbers, so the difference between two texts is due to the intervention. A batch of eight costs about a
quarter of eight runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.events import Progress, Steps, Text
from sessions.interventions.arms import Arm, Condition, PartInForce
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention, TokenScope
from sessions.interventions.token_scopes import Extents, TokenTracker
from sessions.model.distribution import chances, likeliest
from sessions.model.finite import not_finite
from sessions.model.generation import Decoding, GeneratedRow, generate, left_padded
from sessions.model.hooks import watched
from sessions.model.info import Encoded
from sessions.model.logits import value_of
from sessions.model.opening import OpenModel
from sessions.model.target import Target
from sessions.model.texts import text_of
from sessions.model.tokens import last_positions
from sessions.model.units import kind_in

#: Likeliest next tokens that are kept of each arm.
KEPT = 10

ConditionedPrompt = tuple[Encoded, Condition]
"""A prompt, and the condition it is answered under."""

#: Seconds between two reports of progress beside streamed texts.
_BETWEEN = 0.25


def compare(
    opened: OpenModel,
    encoded: Encoded,
    conditions: Sequence[Condition],
    decoding: Decoding,
    *,
    target: Target | None = None,
    streamed: bool = True,
    cancel: Cancel | None = None,
) -> Steps[tuple[tuple[Arm, ...], Tensor]]:
    """`complete_rows` for one prompt under each condition."""
    rows = [(encoded, condition) for condition in conditions]
    targets = [] if target is None else [target] * len(rows)
    return (yield from complete_rows(opened, rows, decoding, targets=targets, streamed=streamed, cancel=cancel))


def complete_rows(
    opened: OpenModel,
    conditioned: Sequence[ConditionedPrompt],
    decoding: Decoding,
    *,
    targets: Sequence[Target | None] = (),
    streamed: bool = True,
    lenient: bool = False,
    cancel: Cancel | None = None,
) -> Steps[tuple[tuple[Arm, ...], Tensor]]:
    """Generate every row. Yields the texts as they grow or, with `streamed` off, progress only.

    Args:
        targets: one for each row, to compute its value; empty for no values.
        lenient: do not raise `NotFinite`, as in a part of a larger job.

    Returns:
        The finished arms in order, and the logits of the first generated position, `[rows, vocab]`. Every arm lists the
        likeliest tokens of all arms, so that arms can be compared. An arm whose logits become NaN stops there, and the
        others go on.

    Raises:
        UsageError: the model does not have one of the neurons.
        NotFinite: no arm has finite logits at the first position; the message says where in the model that begins.
    """
    aims = list(targets) or [None] * len(conditioned)
    values = _sequences(opened, conditioned, aims, cancel)
    prompts = [encoded.ids for encoded, _ in conditioned]
    with watched(opened.anatomy, cancel), running_rows(opened, conditioned) as following:
        steps = generate(opened.model, opened.tokenizer, prompts, decoding)
        step = next(steps)
        first = step.logits.float()
        values = [
            _value(aim, row) if value is None else value for aim, row, value in zip(aims, first, values, strict=True)
        ]
        if not lenient and not bool(first.max(-1).values.isfinite().any()):
            names = [repr(condition.name) for _, condition in conditioned] if len(conditioned) > 1 else ()
            raise not_finite(opened, prompts, "the distribution of the first token", names)
        told = monotonic()
        while True:
            if streamed:
                pairs = zip(conditioned, step.pieces, strict=True)
                yield from (Text(piece, condition.name) for (_, condition), piece in pairs if piece)
            if not streamed or monotonic() - told >= _BETWEEN:
                told = monotonic()
                yield Progress("generating", step.number + 1, decoding.max_tokens, "tokens")
            try:
                step = next(steps)
            except StopIteration as stop:
                return _arms(opened, conditioned, stop.value, following, first, aims, values), first


@contextmanager
def running_rows(opened: OpenModel, rows: Sequence[ConditionedPrompt]) -> Iterator[TokenTracker]:
    """Inside the block, row r of every batch reads the prompt of `rows[r]` under its condition."""

    extents = Extents(
        prompts=tuple(len(encoded.ids) for encoded, _ in rows),
        replies=tuple(encoded.reply or len(encoded.ids) for encoded, _ in rows),
        decode=partial(text_of, opened.tokenizer),
    )
    with intervening(opened.anatomy, [condition.treatments for _, condition in rows], extents) as following:
        yield following


@torch.inference_mode()
def _sequences(
    opened: OpenModel, prompts: Sequence[ConditionedPrompt], targets: Sequence[Target | None], cancel: Cancel | None
) -> list[float | None]:
    """Log-probability of each target that is a sequence, after its prompt; None for all others."""
    rows = [number for number, target in enumerate(targets) if target is not None and target.sequence]
    log_probs: list[float | None] = [None] * len(prompts)
    if not rows:
        return log_probs
    wanted = [[token.id for token in targets[row].tokens] for row in rows]  # type: ignore[union-attr]
    texts = [[*prompts[row][0].ids, *ids[:-1]] for row, ids in zip(rows, wanted, strict=True)]
    with watched(opened.anatomy, cancel), running_rows(opened, [prompts[row] for row in rows]):
        logits = _read(opened, texts, max(len(ids) for ids in wanted))
    for row, ids, row_logits in zip(rows, wanted, logits, strict=True):
        column = torch.tensor(ids, device=row_logits.device)[:, None]
        log_probs[row] = float(row_logits[-len(ids) :].float().log_softmax(-1).gather(1, column).sum())
    return log_probs


def _read(opened: OpenModel, texts: Sequence[Sequence[int]], kept: int) -> Tensor:
    """Logits of the last `kept` positions of texts, `[rows, kept, vocab]`."""
    ids, mask = left_padded(texts, opened.tokenizer.pad_token_id or 0, opened.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = opened.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        use_cache=False,
        logits_to_keep=last_positions(kept, ids),
    )
    logits: Tensor = out.logits
    return logits


def _value(target: Target | None, logits: Tensor) -> float | None:
    """The target's value, from a row's first logits, `[vocab]`."""
    return None if target is None else float(value_of(target, logits[None]))


def _arms(
    opened: OpenModel,
    prompts: Sequence[ConditionedPrompt],
    rows: Sequence[GeneratedRow],
    following: TokenTracker,
    first: Tensor,
    targets: Sequence[Target | None],
    values: Sequence[float | None],
) -> tuple[Arm, ...]:
    numbers = [bool(logits.isnan().any()) for logits in first]
    together = dict.fromkeys(
        i for logits, failed in zip(first, numbers, strict=True) if not failed for i in likeliest(logits, KEPT)
    )
    arms = []
    for number, ((_, condition), row, failed) in enumerate(zip(prompts, rows, numbers, strict=True)):
        target = targets[number]
        chance = None
        if target is not None and not failed:
            chance = float(first[number].log_softmax(-1)[target.tokens[0].id].exp())
        changing = any(treatment.changes for treatment in condition.treatments)
        arms.append(
            Arm(
                name=condition.name,
                multiplier=condition.multiplier,
                text=row.text,
                ids=tuple(row.ids),
                stopped=row.stopped,
                next_tokens=() if failed else chances(opened.tokenizer, first[number], together),
                target=None if failed else values[number],
                target_probability=chance,
                read=row.read,
                fired=following.counted(number, condition.treatments, row.read) if changing else None,
                guarded=row.guarded,
                parts=_parts(condition.treatments, number, row.read, following),
            )
        )
    return tuple(arms)


def _parts(
    treatments: Sequence[Intervention], number: int, read: int, following: TokenTracker
) -> tuple[PartInForce, ...]:
    """For each part of a text that interventions are limited to, at how many tokens they were in force."""
    by_place: dict[TokenScope, list[Intervention]] = {}
    for treatment in treatments:
        if treatment.changes:
            by_place.setdefault(treatment.where, []).append(treatment)
    return tuple(
        PartInForce(
            part=where.part,
            neurons=len({neuron.anywhere for treatment in those for neuron in treatment.neurons}),
            unit=kind_in(unit for treatment in those for unit in treatment.neurons),
            fired=following.counted(number, those, read),
            marker=where.marker,
            opened=where.region != "answer" or following.closed(number, where.marker),
        )
        for where, those in by_place.items()
    )
