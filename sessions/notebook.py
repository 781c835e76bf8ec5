"""The start of a notebook: `sessions.open("smollm2").attribute("The capital of Texas is", " Austin")`.

Strings go in, tensors and neurons come out. The options have the names and meanings of those of the verb `discover`.
For everything else, pass `model.opened` to the functions of the other rooms.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from sessions.circuits.attribution import STEPS, Attribution, Reference
from sessions.circuits.discovery import AttributionOptions, DiscoveryQuestion, Scope, attributed
from sessions.circuits.methods import DEFAULT, Method, check_options, named
from sessions.circuits.pruning import CircuitSize, candidates, choose
from sessions.circuits.recording import means, recorded
from sessions.circuits.universal import PROMPTS
from sessions.errors import UsageError
from sessions.events import finished
from sessions.model.info import Encoded, Prompt, Token
from sessions.model.opening import OpenModel
from sessions.model.target import Target
from sessions.model.tokens import continuation, encode
from sessions.model.units import Unit
from sessions.store import default_home


@dataclass(frozen=True, kw_only=True)
class PromptAttribution(Attribution):
    """The attribution of every neuron on one prompt, with the prompt and the target."""

    encoded: Encoded
    target: Target

    def top(self, count: int = 20, *, keep_bos: bool = False) -> tuple[Unit, ...]:
        """The neurons with the largest |attribution|. The first position, an attention sink, is left out.

        Args:
            keep_bos: include the first position.
        """
        copies = tuple(replace(site, relevance=site.relevance.clone()) for site in self.sites)
        ranked = candidates(Attribution(copies, self.value), without_positions=() if keep_bos else (0,))
        return choose(ranked, CircuitSize(count), self.value)


class Model:
    """An open model, for a notebook."""

    def __init__(self, opened: OpenModel, home: Path | None = None) -> None:
        self.opened = opened
        self._home = home or default_home()

    def __repr__(self) -> str:
        info = self.opened.info
        return f"<Model {info.name}: {info.n_layers} layers, {info.dtype}, {info.device}>"

    def attribute(
        self,
        prompt: str | Prompt,
        target: str | None = None,
        *,
        counterfactual: str | None = None,
        target_only: bool = False,
        sequence: bool = False,
        method: str = DEFAULT,
        attention: str | None = None,
        reference: str | Reference = "zero",
        steps: int | None = None,
        layers: Collection[int] | None = None,
        positions: Collection[int] | None = None,
        chat: bool = False,
        seed: str = "",
    ) -> PromptAttribution:
        """How much each neuron contributes to a target, at every position of the prompt.

            attribution = model.attribute("The capital of Texas is", " Austin", counterfactual=" Houston")
            attribution.top(20), attribution.value, attribution.conservation, attribution.dense()

        Args:
            target: the next token to explain, with its leading space; by default the likeliest one. Of a longer text
                the first token, or all tokens with `sequence`.
            counterfactual: explain the logit difference to this token; by default the strongest other token.
            target_only: explain the target's logit alone, not a difference.
            method: one of `sessions.circuits.methods.METHODS`.
            attention: the rule by which relevance passes attention; by default the method's own.
            reference: what neurons are compared with: "zero", "mean" (over built-in texts), the text of another
                prompt, or a `Reference`.
            steps: forward passes, for a method that takes several.
            layers, positions: only these. A method that measures each neuron alone needs layers.
            chat: read the prompt as a user's turn, through the chat template; `seed` is the start of the reply.

        Raises:
            UsageError: two options exclude each other, or the model has no such layer or position.
            ModelError: the method does not support the model.
        """
        to_read = Prompt(text=prompt, seed=seed, chat=chat) if isinstance(prompt, str) else prompt
        encoded = encode(self.opened.tokenizer, to_read)
        chosen = named(method)
        check_options(chosen, attention=attention, steps=steps, reference=_kind(reference))
        self._check(chosen, encoded, layers, positions)
        compared = self._reference(reference, encoded)
        chosen.check_model(self.opened.anatomy, compared)
        question = self._question(encoded, target, counterfactual, target_only, sequence)
        how = AttributionOptions(
            method, attention or chosen.attention_by_default(), compared, _word(reference), steps or STEPS
        )
        # The first position says nothing, and for a method that measures each neuron it costs as much as any other.
        without = () if chosen.estimates or positions is not None else (0,)
        scope = Scope(without_positions=without, layers=layers, positions=positions)
        attribution, explained = finished(attributed(self.opened, encoded, question, scope=scope, how=how))
        return PromptAttribution(
            attribution.sites,
            attribution.value,
            attribution.outputs,
            attribution.inputs,
            encoded=encoded,
            target=explained,
        )

    def _check(
        self, method: Method, encoded: Encoded, layers: Collection[int] | None, positions: Collection[int] | None
    ) -> None:
        """Raise `UsageError` for a layer or position that does not exist, or if too many neurons would be measured."""
        anatomy, length = self.opened.anatomy, len(encoded.ids)
        for layer in layers or ():
            anatomy.check_layer(layer)
        for position in positions or ():
            if not -length <= position < length:
                raise UsageError(f"the prompt has no position {position}", f"positions are 0 to {length - 1}, or -1")
        if layers is None and not method.estimates:
            raise UsageError(
                f"{method.name} without layers would ablate every neuron of {anatomy.n_layers} layers one by one",
                f"choose layers and positions, for example: layers=[{anatomy.n_layers // 2}], positions=[-1]",
            )

    def _question(
        self, encoded: Encoded, target: str | None, other: str | None, target_only: bool, sequence: bool
    ) -> DiscoveryQuestion:
        if other is not None and (target_only or sequence):
            raise UsageError("counterfactual excludes target_only and sequence", "leave one of them out")
        if sequence and target is None:
            raise UsageError("sequence needs a target", 'for example: " Austin, Texas"')
        tokens = () if target is None else self._tokens(encoded, target)
        others = () if other is None else self._tokens(encoded, other)[:1]
        tokens = tokens if sequence else tokens[:1]
        return DiscoveryQuestion(tokens, others[0] if others else None, alone=target_only, sequence=sequence)

    def _tokens(self, encoded: Encoded, text: str) -> tuple[Token, ...]:
        return continuation(self.opened.tokenizer, encoded, text).tokens

    def _reference(self, reference: str | Reference, encoded: Encoded) -> Reference | None:
        if not isinstance(reference, str):
            return reference
        if reference == "zero":
            return None
        tokenizer = self.opened.tokenizer
        if reference == "mean":
            texts = [encode(tokenizer, Prompt(text=text, chat=False)).ids for text in PROMPTS]
            return finished(means(self.opened, texts, self._home))
        other = Prompt(text=reference, seed=encoded.prompt.seed, chat=encoded.prompt.chat, system=encoded.prompt.system)
        return recorded(self.opened, encode(tokenizer, other).ids, len(encoded.ids))


def _kind(reference: str | Reference) -> str:
    """The kind of a reference, as methods list them."""
    if not isinstance(reference, str):
        return "mean"
    return reference if reference in ("zero", "mean") else "prompt"


def _word(reference: str | Reference) -> str:
    """What neurons are compared with, in a word or two."""
    return {"zero": "zero", "mean": "mean", "prompt": "another prompt"}[_kind(reference)]
