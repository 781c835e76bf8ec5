"""Discovery: from a prompt and a target to the circuit that produces it.

One attribution (by one of the `methods`), then a choice among the candidates. The target is a logit difference unless
a single token is asked for: a logit alone is mostly explained by neurons that raise many tokens at once, and a
difference cancels them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sessions.cancel import Cancel
from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import STEPS, Attribution, Reference
from sessions.circuits.circuit import Circuit
from sessions.circuits.methods import DEFAULT, named
from sessions.circuits.pruning import Candidates, CircuitSize, candidates, choose
from sessions.errors import UsageError
from sessions.events import Steps, finished
from sessions.model.finite import locating
from sessions.model.info import Encoded, Token
from sessions.model.logits import strongest_other, value
from sessions.model.opening import OpenModel
from sessions.model.target import Target
from sessions.model.tokens import token_text
from sessions.model.units import NEURONS, Kind


@dataclass(frozen=True)
class DiscoveryQuestion:
    """What is to be explained.

    `tokens` is the target: one token or, with `sequence`, several; empty for the model's likeliest token. The target is
    measured against `counterfactual` or, where that is None, against the strongest other token, unless `alone`.
    """

    tokens: tuple[Token, ...] = ()
    counterfactual: Token | None = None
    alone: bool = False
    sequence: bool = False


@dataclass(frozen=True)
class Scope:
    """Which neurons are candidates.

    `without_positions` and `without_neurons` are left out: by default the first position, the attention sink, and the
    universal neurons, where they are known. `layers` and `positions` None mean all; positions below 0 count from the
    end.
    """

    without_positions: tuple[int, ...] = (0,)
    without_neurons: Collection[tuple[int, int]] = field(default_factory=frozenset)
    layers: Collection[int] | None = None
    positions: Collection[int] | None = None


@dataclass(frozen=True)
class AttributionOptions:
    """How attributions are made (see `attributing.attribute`); `compared` names the reference in a word, `kinds` the
    units that are attributed."""

    method: str = DEFAULT
    attention: str = "frozen"
    reference: Reference | None = None
    compared: str = "zero"
    steps: int = STEPS
    kinds: tuple[Kind, ...] = NEURONS

    @property
    def described(self) -> str:
        return self.method if self.reference is None else f"{self.method} against {self.compared}"


USUAL = AttributionOptions()


@dataclass(frozen=True)
class Discovery:
    """The circuit, the number of candidates it was chosen from, and remarks for the user."""

    circuit: Circuit
    candidates: int
    notes: tuple[str, ...]


def discover(
    opened: OpenModel,
    encoded: Encoded,
    question: DiscoveryQuestion,
    *,
    choice: CircuitSize,
    scope: Scope | None = None,
    how: AttributionOptions = USUAL,
    cancel: Cancel | None = None,
) -> Discovery:
    """The circuit for `question` on the prompt, without progress events. Arguments and errors as in `discovering`."""
    return finished(discovering(opened, encoded, question, choice=choice, scope=scope, how=how, cancel=cancel))


def discovering(
    opened: OpenModel,
    encoded: Encoded,
    question: DiscoveryQuestion,
    *,
    choice: CircuitSize,
    scope: Scope | None = None,
    how: AttributionOptions = USUAL,
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[Discovery]:
    """The circuit for `question` on the prompt; a method that measures reports its progress.

    Args:
        batch: tokens computed at once by a method that measures (see `verification.verify`).

    Raises:
        UsageError: target and counterfactual are the same token, or nothing is left to choose.
        ModelError: the family is out of reach of the method, or relevance is not finite.
    """
    pending, estimate = yield from _attributed(opened, encoded, question, scope, how, batch, cancel)
    answer = pending.answered(estimate, choice)
    if named(how.method).estimates:
        return answer
    effects = {neuron.place: neuron.attribution for neuron in answer.circuit.neurons}
    return replace(answer, circuit=answer.circuit.with_effects(effects, how.compared))


def attributed(
    opened: OpenModel,
    encoded: Encoded,
    question: DiscoveryQuestion,
    *,
    scope: Scope | None = None,
    how: AttributionOptions = USUAL,
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[tuple[Attribution, Target]]:
    """The attribution that `discovering` chooses from, 0 outside the scope, and the target."""
    pending, estimate = yield from _attributed(opened, encoded, question, scope, how, batch, cancel)
    return replace(pending.attribution, sites=estimate.sites), pending.target


def _attributed(
    opened: OpenModel,
    encoded: Encoded,
    question: DiscoveryQuestion,
    scope: Scope | None,
    how: AttributionOptions,
    batch: int | None,
    cancel: Cancel | None,
) -> Steps[tuple[_Asked, Candidates]]:
    """The question attributed, and the candidates of the scope."""
    pending = _asked(opened, encoded, question, how, cancel)
    measured = _candidates(pending, scope or Scope())
    measured = yield from named(how.method).measure(
        measured, opened, pending.ids, pending.target, reference=how.reference, batch=batch, cancel=cancel
    )
    return pending, measured


@dataclass(frozen=True)
class _Asked:
    """A question, what was read for it, and its attribution."""

    opened: OpenModel
    encoded: Encoded
    ids: tuple[int, ...]
    measure: _Measure
    attribution: Attribution
    how: AttributionOptions

    @property
    def target(self) -> Target:
        return self.measure.target(self.opened.tokenizer, self.attribution.value)

    def answered(self, chosen_from: Candidates, choice: CircuitSize) -> Discovery:
        """The circuit that a choice makes of the candidates."""
        target, question, info = self.target, self.measure.question, self.opened.info
        behind = question.tokens[:-1] if question.sequence else ()
        circuit = Circuit(
            neurons=choose(chosen_from, choice, target.value),
            prompt=self.encoded.prompt,
            ids=self.ids,
            tokens=(*self.encoded.tokens, *(token.text for token in behind)),
            target=target,
            method=self.how.described,
            attention=self.how.attention,
            chosen=str(choice),
            conservation=self.attribution.conservation,
            total=chosen_from.total,
            model=info.name,
            fingerprint=info.fingerprint,
        )
        return Discovery(circuit, chosen_from.number, _doubts(self.measure, self.attribution, circuit, self.how))


def _asked(
    opened: OpenModel, encoded: Encoded, question: DiscoveryQuestion, how: AttributionOptions, cancel: Cancel | None
) -> _Asked:
    """Attribute a question on a prompt."""
    ids = encoded.ids
    if question.sequence:
        ids = (*ids, *(token.id for token in question.tokens[:-1]))
    opened.anatomy.check_length(len(ids))
    measure = _Measure(question)
    with locating(opened, [ids]):
        attribution = attribute(
            opened.model,
            opened.anatomy,
            torch.tensor([ids], device=opened.device),
            measure,
            method=how.method,
            attention=how.attention,
            reference=how.reference,
            steps=how.steps,
            kept=len(question.tokens) if question.sequence else 1,
            kinds=how.kinds,
            cancel=cancel,
        )
    return _Asked(opened, encoded, ids, measure, attribution, how)


def _candidates(pending: _Asked, scope: Scope) -> Candidates:
    return candidates(
        pending.attribution,
        without_positions=scope.without_positions,
        without_neurons=scope.without_neurons,
        layers=scope.layers,
        positions=scope.positions,
        length=len(pending.ids),
    )


class _Measure:
    """The target as a function of the logits; it remembers the tokens that it chose."""

    def __init__(self, question: DiscoveryQuestion) -> None:
        self.question = question
        self.ids = [token.id for token in question.tokens]
        self.other: int | None = None if question.counterfactual is None else question.counterfactual.id
        self.rank = 0
        self.probability = 0.0

    def __call__(self, logits: Tensor) -> Tensor:
        if not self.question.sequence:
            self._settle(logits[-1].detach())
        return value(logits, self.ids, self.other, sequence=self.question.sequence)

    def _settle(self, last: Tensor) -> None:
        if self.rank:  # already chosen: further passes do not read the prompt itself
            return
        if not self.ids:
            self.ids = [int(last.argmax())]
        target = self.ids[0]
        self.rank = 1 + int((last > last[target]).sum())
        self.probability = float(last.softmax(-1)[target])
        if self.other is None and not self.question.alone:
            self.other = strongest_other(last, target)
        if self.other == target:
            raise UsageError(
                "the target and its counterfactual are the same token", "choose another --vs, or leave it out"
            )

    def target(self, tokenizer: PreTrainedTokenizerBase, value: float) -> Target:
        tokens = tuple(Token(i, token_text(tokenizer, i)) for i in self.ids)
        other = None if self.other is None else Token(self.other, token_text(tokenizer, self.other))
        return Target(tokens=tokens, counterfactual=other, sequence=self.question.sequence, value=value)


#: A gap above this share of the target is reported; float32 with frozen attention stays below 1e-5.
_GAP = 0.01


def _doubts(measure: _Measure, attribution: Attribution, circuit: Circuit, how: AttributionOptions) -> tuple[str, ...]:
    notes = []
    if measure.rank > 10:
        notes.append(
            f"{circuit.target.tokens[0].text!r} ranks {measure.rank:,} (p {measure.probability:.2g}): "
            "the circuit explains a token that the model would hardly say"
        )
    if how.attention == "frozen" and attribution.conservation is not None and attribution.conservation > _GAP:
        notes.append(
            f"relevance at the inputs misses the target by {attribution.conservation:.1%}: "
            "biases, low precision, or parts of this family that no rule covers"
        )
    return tuple(notes)
