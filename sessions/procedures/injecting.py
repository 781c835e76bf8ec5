"""States of one text put into another, and what the model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition, shifts
from sessions.last_output import LastOutput
from sessions.model.info import Encoded
from sessions.model.target import Target
from sessions.model.units import Unit, only_neurons
from sessions.procedures.generating import decoded
from sessions.procedures.states import check_layer
from sessions.procedures.token_meant import token_meant
from sessions.results import Injected, InjectedByLayer
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.interventions.answering import ConditionedPrompt
    from sessions.patching.transplanting import Transplant

#: Neurons that are observed at most.
MOST = 50
#: The text as it is, and the arms beside it.
ARMS = ("baseline", "injected", "random")


def injected_beside(
    session: Session,
    prompt: ConditionedPrompt,
    transplants: Sequence[Transplant],
    observe: tuple[Unit, ...],
    aim: Target | None,
    notes: list[str],
    *,
    per_layer_inputs: bool,
    max_tokens: int | None,
    adds: bool,
    scale: float,
) -> Steps[Injected]:
    """The text as it is, with the vectors, and with random ones."""
    from sessions.interventions.answering import compare
    from sessions.patching.injecting import injected
    from sessions.patching.transplanting import remarks, transplanted

    opened, (encoded, condition) = session.opened(), prompt
    plan = yield from transplanted(
        opened,
        prompt,
        transplants,
        observe=observe,
        inputs=per_layer_inputs,
        rng=session.settings.rng,
        cancel=session.cancel,
    )
    conditions = [Condition(name, condition.treatments) for name in ARMS]
    decoding = decoded(session, max_tokens=max_tokens, length=len(encoded.ids))
    with injected(opened.anatomy, plan.rows):
        arms, logits = yield from compare(opened, encoded, conditions, decoding, target=aim, cancel=session.cancel)
    session.last_output = LastOutput(text=arms[1].text, baseline=arms[0].text, logits=logits[1])
    return Injected(
        encoded=encoded,
        adds=adds,
        scale=scale,
        inputs=per_layer_inputs,
        placed=plan.placed,
        observed=plan.observed,
        target=aim,
        arms=arms,
        shifts=shifts(arms[0], arms[1]),
        notes=(*notes, *remarks(opened.anatomy, transplants, observe, session.state_key())),
    )


def injected_by_layer(
    session: Session,
    prompt: ConditionedPrompt,
    transplant: Transplant,
    layers: range,
    observe: tuple[Unit, ...],
    aim: Target | None,
    notes: list[str],
    *,
    adds: bool,
    scale: float,
    per_layer_inputs: bool,
) -> Steps[InjectedByLayer]:
    """From every layer of the source into every layer of the text."""
    from sessions.patching.layer_sweep import swept
    from sessions.patching.transplanting import other_streams

    opened, origin, vector = session.opened(), transplant.vector.origin, transplant.vector
    if origin is None or vector.fingerprint != opened.info.fingerprint:
        raise ArtifactError(
            f"vector '{vector.name}' has no text of this model, which a map reads at every layer",
            "capture one: capture NAME --prompt TEXT --at WORD --layer N",
        )
    if len(observe) > 1 or (observe and aim is not None):
        raise UsageError("a map shows one thing", "observe one neuron, or name a --target")
    for layer in layers:
        check_layer(session, layer, transplant.site)
    layer_map = yield from swept(
        opened,
        prompt,
        transplant.position,
        origin,
        layers,
        transplant.site,
        observe=observe[0] if observe else None,
        target=None if aim is None else aim.tokens[0].id,
        adds=adds,
        scale=scale,
        inputs=per_layer_inputs,
        rng=session.settings.rng,
        cancel=session.cancel,
    )
    return InjectedByLayer(
        encoded=prompt[0],
        adds=adds,
        scale=scale,
        inputs=per_layer_inputs,
        place=transplant.mapped(prompt[0].tokens[transplant.position], layer_map.reaches_below),
        measure="activation" if observe else "kl" if aim is None else "probability",
        observed=observe[0] if observe else None,
        target=aim,
        map=layer_map,
        notes=(*notes, *other_streams(opened.anatomy, [transplant.site])),
    )


def target_in(session: Session, encoded: Encoded, notes: list[str], *, text: str | None) -> Target | None:
    """The token whose probability is shown; what should be said of it is put to the notes."""
    if text is None:
        return None
    from sessions.model.tokens import continuation

    text, remarks = token_meant(session, text, encoded)
    candidate = continuation(session.opened().tokenizer, encoded, text)
    notes += [*remarks, *candidate.notes]
    if len(candidate.tokens) > 1:
        notes.append(f"{text!r} is {len(candidate.tokens)} tokens; the first is meant, {candidate.tokens[0].text!r}")
    return Target(tokens=candidate.tokens[:1], value=0.0)


def observed_neurons(session: Session, *, observe: str | None) -> tuple[Unit, ...]:
    """The neurons to read, each once; none where none are named."""
    if observe is None:
        return ()
    neurons = tuple(
        {neuron.site: neuron for neuron in only_neurons(session.select(observe).neurons, "--observe")}.values()
    )
    if len(neurons) > MOST:
        raise UsageError(f"'{observe}' is {len(neurons):,} neurons; {MOST} are observed at most", "for example: top10")
    for neuron in neurons:
        session.opened().anatomy.check(*neuron.site)
    return neurons
