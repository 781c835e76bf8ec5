"""A circuit from a file of another project, completed with the help of the open model.

Such a file gives its prompt and its target as texts, and does not name the token that the target is measured against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from sessions.circuits.circuit import Circuit
from sessions.circuits.sound import UNKNOWN_ID
from sessions.model.distribution import next_logits
from sessions.model.info import Encoded, Token
from sessions.model.target import Target
from sessions.model.tokens import continuation, encode, is_formatted, token_text

if TYPE_CHECKING:
    from sessions.cancel import Cancel
    from sessions.model.opening import OpenModel

#: The largest relative error between the difference in a file and the one that is computed.
_CLOSE = 0.1


def as_formatted(circuit: Circuit, opened: OpenModel) -> tuple[Circuit, list[str]]:
    """The circuit, its prompt marked raw if it is already formatted by the chat template, and remarks."""
    if circuit.ids or not is_formatted(opened.tokenizer, circuit.prompt.text):
        return circuit, []
    circuit = structs.replace(circuit, prompt=structs.replace(circuit.prompt, chat=False))
    return circuit, ["its prompt has been through the chat template already, and is read as it stands"]


def with_target(circuit: Circuit, opened: OpenModel, cancel: Cancel | None = None) -> tuple[Circuit, list[str]]:
    """The circuit with its target's text as tokens of the open model, and remarks."""
    target = circuit.target
    if not circuit.prompt.text or not any(token.id == UNKNOWN_ID for token in target.tokens):
        return circuit, []
    text, encoded = "".join(token.text for token in target.tokens), encode(opened.tokenizer, circuit.prompt)
    candidate = continuation(opened.tokenizer, encoded, text)
    notes = [*candidate.notes]
    if len(candidate.tokens) > 1:
        notes.append(
            f"{text!r} is {len(candidate.tokens)} tokens; the first stands for it, {candidate.tokens[0].text!r}"
        )
    target, more = _against_another(structs.replace(target, tokens=candidate.tokens[:1]), encoded, opened, cancel)
    return structs.replace(circuit, target=target), notes + more


def _against_another(
    target: Target, encoded: Encoded, opened: OpenModel, cancel: Cancel | None
) -> tuple[Target, list[str]]:
    """The target against the strongest other token, if that gives the difference in the file."""
    if not target.tokens or not target.value:
        return target, []
    logits = next_logits(opened, encoded.ids, cancel)
    own = target.tokens[0].id
    other = next(token for token in logits.topk(2).indices.tolist() if token != own)
    difference, text = float(logits[own] - logits[other]), token_text(opened.tokenizer, other)
    if abs(difference - target.value) <= _CLOSE * max(1.0, abs(target.value)):
        return structs.replace(target, counterfactual=Token(other, text)), []
    return target, [
        f"the file says a difference of {target.value:+.3f}, and to the strongest other token, {text!r}, it is "
        f"{difference:+.3f}: the target is taken for the logit of {target.tokens[0].text!r} alone"
    ]
