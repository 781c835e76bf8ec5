"""Rewriting: a neuron is made to say a token at chosen places of a text, as an edit, and measured.

The neuron's new rows and column are those of `teaching`.

α is tried in rising order, as multiples of the mean norm of the residual stream. The first is chosen with which, on the
training examples, the token is said often enough where it should be and rarely enough elsewhere, and unrelated text
stays as likely. Reported values are measured on the held-out examples.

A brake is a second neuron, in a later layer, made by the same rules from texts in which the token has just been said:
it fires there, and its column is −β · û_t.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from math import exp

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.edits.edit import Edit
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.answering import complete_rows
from sessions.interventions.arms import Arm, Condition, repetition
from sessions.interventions.intervention import Intervention
from sessions.model.generation import Decoding
from sessions.model.info import Token
from sessions.model.opening import OpenModel
from sessions.model.tokens import plain_ids
from sessions.model.units import Unit
from sessions.rewriting.examples import Example, Examples, just_said
from sessions.rewriting.rewritten import AtAlpha, Braked, Firing, Replied, Saying, Separation
from sessions.rewriting.separating import Counted, Passes, SaidToken, reader_of
from sessions.rewriting.teaching import ExampleMarks, TaughtNeuron, counted, direction, taught
from sessions.texts.corpus import Corpus

#: α that are tried, as multiples of the norm of what the MLP writes into; the others where a norm stands between.
FACTORS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0)
BEHIND_NORM = (4.0, 8.0)
#: What an α has to reach on the examples: said at least, elsewhere at most, perplexity at most as a multiple.
SAID, ELSEWHERE, PERPLEXITY = 0.75, 0.1, 1.05
#: Multiple of the perplexity from which on no larger α is tried.
_TOO_MUCH = 1.5
#: Unrelated text: so many documents of the built-in corpus, cut to so many tokens.
DOCUMENTS, LENGTH = 20, 64
#: Held-out prompts that are answered.
REPLIES = 3
#: Share of repeated three-token sequences from which on a text has collapsed, if it has so many more than without;
#: and share of tokens at which the stutter guard had to hold it back, beyond that without.
COLLAPSED, MORE, HELD_BACK = 0.4, 0.2, 0.1


@dataclass(frozen=True)
class Wanted:
    """Options of a rewriting; those that are left out are chosen automatically."""

    alphas: tuple[float, ...] = ()
    scale_gate: float | None = None
    scale_up: float | None = None
    brake: Unit | None = None
    beta: float | None = None


@dataclass(frozen=True, eq=False)
class Rewriting:
    """An edit that is not applied, and what was measured with it. See the result `Rewritten`."""

    edit: Edit
    made: TaughtNeuron
    rows: tuple[AtAlpha, ...]
    chosen: int
    before: Saying
    separation: Separation
    firing: Firing
    norm: float
    replies: tuple[Replied, ...]
    repetition: tuple[float, float]
    held_back: tuple[float, float]
    brake: Braked | None

    @property
    def collapsed(self) -> bool:
        """Whether the replies repeat themselves more than without the edit, or only the stutter guard prevents that."""
        before, after = self.repetition
        return (after > COLLAPSED and after > before + MORE) or self.held_back[1] > self.held_back[0] + HELD_BACK


def rewrite(
    opened: OpenModel,
    neuron: Unit,
    token: Token,
    examples: Examples,
    wanted: Wanted,
    decoding: Decoding,
    *,
    cancel: Cancel | None = None,
) -> Steps[Rewriting]:
    """The edit that makes a neuron say a token where the examples have it, and what it does.

    The weights are changed while it runs and are themselves again when it ends, however it ends.

    Args:
        decoding: how held-out prompts are answered; the stutter guard should be on.

    Raises:
        UsageError: the brake is no later layer's, or the examples do not differ where the layer reads.
        ModelError: the weights are packed, or what the model computes is not finite.
        Cancelled: `cancel` was requested; the weights and hooks are as before.
    """
    check_brake(neuron, wanted)
    reader_of(opened, neuron)
    column = direction(opened, token)
    passes = Passes(opened, neuron, counted(examples.all), token.id, cancel)
    plain = yield from passes.read("reading the examples")
    unrelated = Passes(opened, neuron, unrelated_text(opened), token.id, cancel)
    silent = yield from unrelated.read("reading unrelated text")
    prompts = [example.asked for example in examples.held if example.where][:REPLIES]
    before = yield from _answers(opened, prompts, [()], decoding, cancel)
    marks = ExampleMarks.of(examples)
    with ExitStack() as stack:
        made, unit = taught(opened, neuron, passes, marks, wanted.scale_gate, wanted.scale_up, column)
        stack.enter_context(made.edit().applied(opened))
        fired = marks.firing(passes.activations(), unit / 2)
        rows = []
        for alpha in wanted.alphas or _alphas(opened, neuron, passes.norm, unit):
            predictions = yield from passes.said(alpha, f"α {alpha:g}: the examples")
            loss = _loss((yield from unrelated.said(alpha, f"α {alpha:g}: unrelated text"))) - _loss(silent)
            learnt, held_out = marks.saying(predictions)
            rows.append(AtAlpha(alpha=alpha, learnt=learnt, held=held_out, perplexity=exp(min(loss, 700))))
            if not wanted.alphas and (_fits(rows[-1]) or rows[-1].perplexity > _TOO_MUCH):
                break
        chosen = choose(rows)
        times = [(Intervention((neuron,), row.alpha),) for row in rows]
        texts = yield from _answers(opened, prompts, times, decoding, cancel)
        rows = [_with_texts(row, texts[at], token) for at, row in enumerate(rows)]
    alpha, after, brake = rows[chosen].alpha, texts[chosen], None
    edit = made.edit(alpha)
    if wanted.brake is not None:
        with edit.applied(opened):
            beta = alpha if wanted.beta is None else wanted.beta
            stopper, brake = yield from _braked(opened, wanted.brake, examples, token, beta, -column, cancel)
            edit = replace(edit, changes=(*edit.changes, *stopper.changes(beta)))
        with edit.applied(opened):
            after = (yield from _answers(opened, prompts, [()], decoding, cancel))[0]
    return Rewriting(
        edit=edit,
        made=made,
        rows=tuple(rows),
        chosen=chosen,
        before=marks.saying(plain)[1],
        separation=made.separation(passes, marks),
        firing=fired,
        norm=passes.norm,
        replies=tuple(
            Replied(prompt=prompt.prompt.text, before=was.text, after=now.text, guarded=now.guarded or 0)
            for prompt, was, now in zip(prompts, before[0], after, strict=True)
        ),
        repetition=(_repetition(before[0]), _repetition(after)),
        held_back=(_held_back(before[0]), _held_back(after)),
        brake=brake,
    )


def described(made: Rewriting, token: Token, examples: Examples) -> Edit:
    """Its edit with what is known of it: what it does, in words, and the facts that it was made of."""
    neuron, alpha = made.made.neuron, made.rows[made.chosen].alpha
    facts = {
        "neuron": str(neuron),
        "token": token.text,
        "rule": examples.rule,
        "alpha": f"{alpha:g}",
        "scale_g": f"{made.made.scale_gate:.6g}",
        "examples": examples.source,
    }
    facts |= {} if made.made.scale_up is None else {"scale_u": f"{made.made.scale_up:.6g}"}
    facts |= {} if made.brake is None else {"brake": str(made.brake.neuron), "beta": f"{made.brake.beta:g}"}
    return replace(made.edit, about=f'{neuron} says "{token.text}" {examples.rule}', facts=facts)


def remarks(made: Rewriting, examples: Examples) -> tuple[str, ...]:
    """Doubts about a rewriting, in words."""
    row, warnings = made.rows[made.chosen], []
    if made.collapsed:
        guarded = f", the stutter guard at {made.held_back[1]:.0%} of their tokens" if made.held_back[1] else ""
        warnings.append(f"the replies collapse{guarded}: α {row.alpha:g} is too large, take a smaller one")
    if not made.firing.threshold > 0:
        warnings.append("the neuron does not fire where it should: its gate is shut there; take another layer or rule")
    elif not _fits(row) and not made.collapsed:
        wanted = f"{SAID:.0%} of its places, {ELSEWHERE:.0%} elsewhere and a perplexity of ×{PERPLEXITY:g}"
        warnings.append(f"α {row.alpha:g} does not reach {wanted} on the examples")
    if not examples.apart:
        warnings.append("too few examples to hold any out: it is measured on those that it learnt from")
    return tuple(warnings)


def check_brake(neuron: Unit, wanted: Wanted) -> None:
    """Raise `UsageError` unless the brake, if there is one, comes after the neuron."""
    if wanted.brake is not None and wanted.brake.layer <= neuron.layer:
        raise UsageError(
            f"the brake {wanted.brake} is not in a later layer than {neuron}: it would act before the push",
            f"a neuron of layer {neuron.layer + 1} or above",
        )


def unrelated_text(opened: OpenModel) -> list[Counted]:
    """Paragraphs that come with the workbench, each position but the last."""
    texts = [plain_ids(opened.tokenizer, text)[:LENGTH] for text in islice(Corpus().documents(), DOCUMENTS)]
    return [Counted(tuple(ids), tuple(range(len(ids) - 1))) for ids in texts if len(ids) > 1]


def _alphas(opened: OpenModel, neuron: Unit, norm: float, unit: float) -> tuple[float, ...]:
    """The α that are tried where none is given, to three digits."""
    normed = opened.anatomy.layers[neuron.layer].write_norm is not None
    factors = FACTORS + (BEHIND_NORM if normed else ())
    return tuple(float(f"{factor * norm / (unit if unit > 0 else 1.0):.3g}") for factor in factors)


def _fits(row: AtAlpha) -> bool:
    return row.fits(SAID, ELSEWHERE, PERPLEXITY)


def choose(rows: Sequence[AtAlpha]) -> int:
    """The index of the chosen α: the smallest that fits; else, of those that spare unrelated text, the one that says
    the token most where it should and least elsewhere; else the smallest."""
    order = sorted(range(len(rows)), key=lambda at: rows[at].alpha)
    fitting = [at for at in order if _fits(rows[at])]
    if fitting:
        return fitting[0]
    harmless = [at for at in order if rows[at].perplexity <= PERPLEXITY]
    return max(harmless or order[:1], key=lambda at: rows[at].learnt.where - rows[at].learnt.elsewhere)


def _loss(predictions: Sequence[SaidToken]) -> float:
    return float(torch.cat([prediction.loss for prediction in predictions]).double().nanmean())


def _answers(
    opened: OpenModel,
    prompts: Sequence[object],
    conditions: Sequence[tuple[Intervention, ...]],
    decoding: Decoding,
    cancel: Cancel | None,
) -> Steps[list[tuple[Arm, ...]]]:
    """Replies to the prompts under each condition."""
    rows = [(prompt, Condition("", treatments)) for treatments in conditions for prompt in prompts]
    arms, _ = yield from complete_rows(opened, rows, decoding, streamed=False, lenient=True, cancel=cancel)  # type: ignore[arg-type]
    return [arms[start : start + len(prompts)] for start in range(0, len(arms), len(prompts))]


def _repetition(arms: Sequence[Arm]) -> float:
    shares = [share for arm in arms if (share := repetition(arm.ids)) is not None]
    return sum(shares) / len(shares) if shares else 0.0


def _held_back(arms: Sequence[Arm]) -> float:
    return sum(arm.guarded or 0 for arm in arms) / max(sum(len(arm.ids) for arm in arms), 1)


def _with_texts(row: AtAlpha, arms: Sequence[Arm], token: Token) -> AtAlpha:
    return AtAlpha(
        alpha=row.alpha,
        learnt=row.learnt,
        held=row.held,
        perplexity=row.perplexity,
        said=sum(arm.ids.count(token.id) for arm in arms),
        repetition=_repetition(arms),
    )


def _braked(
    opened: OpenModel,
    brake: Unit,
    examples: Examples,
    token: Token,
    beta: float,
    column: Tensor,
    cancel: Cancel | None,
) -> Steps[tuple[TaughtNeuron, Braked]]:
    """The second neuron, with the first in the weights: `column` is what it writes at β = 1."""

    def said(texts: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(just_said(text, token.id) for text in texts if text.where)

    texts = replace(examples, learnt=said(examples.learnt), held=said(examples.held))
    passes = Passes(opened, brake, counted(texts.all), token.id, cancel)
    loose = yield from passes.read("reading what follows the token")
    marks = ExampleMarks.of(texts)
    made, unit = taught(opened, brake, passes, marks, None, None, column)
    with made.edit().applied(opened):
        fired = marks.firing(passes.activations(), unit / 2)
        braked = yield from passes.said(beta, "with the brake")
    return made, Braked(
        neuron=brake,
        beta=beta,
        scale_gate=made.scale_gate,
        scale_up=made.scale_up,
        separation=made.separation(passes, marks),
        firing=fired,
        again=(marks.saying(loose)[1].where, marks.saying(braked)[1].where),
    )
