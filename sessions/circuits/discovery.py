"""Discovery: from a prompt and a target to the circuit that produces it.

One attribution pass, then a choice among the candidates. The target is a logit difference unless
only one token is asked for: a logit alone is mostly explained by neurons that raise many tokens at
once, and a difference cancels them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sessions.circuits.attribution import STEPS, Attribution, Method, Reference, attribute
from sessions.circuits.choosing import Choice, candidates, choose
from sessions.circuits.circuit import Circuit, Target
from sessions.circuits.rules import Attention
from sessions.errors import UsageError
from sessions.model.cancel import Cancel
from sessions.model.info import Encoded, Token
from sessions.model.opening import OpenModel
from sessions.model.tokens import token_text


@dataclass(frozen=True)
class Question:
    """What is to be explained.

    `tokens` is the target, one token or with `sequence` several. The target is measured against
    `counterfactual`; where that is None, against the strongest other token, unless `alone`. An empty
    `tokens` takes the model's own likeliest token.
    """

    tokens: tuple[Token, ...] = ()
    counterfactual: Token | None = None
    alone: bool = False
    sequence: bool = False


@dataclass(frozen=True)
class Scope:
    """Which neurons are candidates.

    `without_positions` and `without_neurons` are left out (by default the first position, where
    attention sinks; and universal neurons, where they are known); `layers` None means all.
    """

    without_positions: tuple[int, ...] = (0,)
    without_neurons: Collection[tuple[int, int]] = field(default_factory=frozenset)
    layers: Collection[int] | None = None


@dataclass(frozen=True)
class Way:
    """How attributions are made (see `attribution.attribute`); `compared` says in a word what with."""

    method: Method = "relp"
    attention: Attention = "frozen"
    reference: Reference | None = None
    compared: str = "zero"
    steps: int = STEPS

    @property
    def described(self) -> str:
        return self.method if self.reference is None else f"{self.method} against {self.compared}"


RELP = Way()


@dataclass(frozen=True)
class Discovery:
    """The circuit, the number of candidates it was chosen from, and what a user should know about it."""

    circuit: Circuit
    candidates: int
    notes: tuple[str, ...]


def discover(
    opened: OpenModel,
    encoded: Encoded,
    question: Question,
    *,
    choice: Choice,
    scope: Scope | None = None,
    how: Way = RELP,
    cancel: Cancel | None = None,
) -> Discovery:
    """The circuit for `question` on the prompt.

    Raises:
        UsageError: target and counterfactual are the same token, or nothing is left to choose.
        ModelError: the family is out of reach of the rules, or relevance is not finite.
    """
    scope = scope or Scope()
    ids = encoded.ids
    if question.sequence:
        ids = (*ids, *(token.id for token in question.tokens[:-1]))
    opened.anatomy.check_length(len(ids))
    measure = _Measure(question)
    attribution = attribute(
        opened.model,
        opened.anatomy,
        torch.tensor([ids], device=opened.model.device),
        measure,
        method=how.method,
        attention=how.attention,
        reference=how.reference,
        steps=how.steps,
        kept=len(question.tokens) if question.sequence else 1,
        cancel=cancel,
    )
    target = measure.target(opened.tokenizer, attribution.value)
    found = candidates(
        attribution,
        without_positions=scope.without_positions,
        without_neurons=scope.without_neurons,
        layers=scope.layers,
    )
    circuit = Circuit(
        neurons=choose(found, choice, target.value),
        prompt=encoded.prompt,
        ids=ids,
        tokens=(*encoded.tokens, *(token.text for token in question.tokens[:-1]))
        if question.sequence
        else encoded.tokens,
        target=target,
        method=how.described,
        attention=how.attention,
        chosen=str(choice),
        conservation=attribution.conservation,
        total=found.total,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
    )
    return Discovery(circuit, found.number, _doubts(measure, attribution, circuit, how))


class _Measure:
    """The target as a function of the logits, remembering the tokens it settled on."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.ids = [token.id for token in question.tokens]
        self.other: int | None = None if question.counterfactual is None else question.counterfactual.id
        self.rank = 0
        self.probability = 0.0

    def __call__(self, logits: Tensor) -> Tensor:
        if self.question.sequence:
            wanted = torch.tensor(self.ids, device=logits.device)
            return logits.log_softmax(-1).gather(1, wanted[:, None]).sum()
        (last,) = logits
        self._settle(last.detach())
        if self.other is None:
            return last[self.ids[0]]
        return last[self.ids[0]] - last[self.other]

    def _settle(self, last: Tensor) -> None:
        if not self.ids:
            self.ids = [int(last.argmax())]
        target = self.ids[0]
        self.rank = 1 + int((last > last[target]).sum())
        self.probability = float(last.softmax(-1)[target])
        if self.other is None and not self.question.alone:
            best, second = last.topk(2).indices.tolist()
            self.other = second if best == target else best
        if self.other == target:
            raise UsageError(
                "the target and its counterfactual are the same token", "choose another --vs, or leave it out"
            )

    def target(self, tokenizer: PreTrainedTokenizerBase, value: float) -> Target:
        tokens = tuple(Token(i, token_text(tokenizer, i)) for i in self.ids)
        other = None if self.other is None else Token(self.other, token_text(tokenizer, self.other))
        return Target(tokens=tokens, counterfactual=other, sequence=self.question.sequence, value=value)


#: A gap above this share of the target is worth telling; float32 with frozen attention stays below 1e-5.
_GAP = 0.01


def _doubts(measure: _Measure, attribution: Attribution, circuit: Circuit, how: Way) -> tuple[str, ...]:
    notes = []
    if measure.rank > 10:
        notes.append(
            f"{circuit.target.tokens[0].text!r} ranks {measure.rank:,} (p {measure.probability:.2g}): "
            "the circuit explains what the model does not say"
        )
    if how.attention == "frozen" and attribution.conservation is not None and attribution.conservation > _GAP:
        notes.append(
            f"relevance at the inputs misses the target by {attribution.conservation:.1%}: "
            "biases, low precision, or parts of this family that no rule covers"
        )
    return tuple(notes)
