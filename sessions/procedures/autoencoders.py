"""States taken apart by a sparse autoencoder, and put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from sessions.events import Steps
from sessions.interventions.arms import Condition, shifts
from sessions.last_output import LastOutput
from sessions.procedures.generating import decoded
from sessions.results import Compared
from sessions.session import Session

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.directions.sae import Autoencoder
    from sessions.directions.vector import Vector


def state_at(
    session: Session, sae: Autoencoder, position: int, force: bool, notes: list[str], *, vector_name: str | None
) -> Vector:
    """The state that is meant: a vector's, or that at a position of the prompt."""
    from sessions.patching.transplanting import captured

    about = sae.about
    if vector_name is not None:
        vector, more = session.saved.read_vector(vector_name, force=force)
        vector.check(session.opened().anatomy)
        notes += more
        if vector.origin is None:
            notes.append(f"vector '{vector.name}' is not a captured state, and autoencoders are trained on states")
        return sae.placed(vector)
    encoded = session.encoded()
    if position < max(encoded.bos, encoded.prefix):
        notes.append(f"position {position} begins the text: its state is unlike others, and few autoencoders know it")
    return captured(
        session.opened(),
        (encoded, Condition("source", session.in_force)),
        position,
        about.layer,
        about.site,  # type: ignore[arg-type]
        suppressed=session.state_key(),
        cancel=session.cancel,
    )


def reconstruction_and_control(
    sae: Autoencoder, x: Tensor, rng: int, *, feature: int | None, scale: float | None, value: float | None, adds: bool
) -> tuple[tuple[str, str], tuple[Tensor, Tensor]]:
    """What is put there and its control: what they are called, and the states."""
    from sessions.patching.injecting import random_like

    if feature is None:
        made = sae.reconstructed(x)
        return ("reconstruction", "as far off"), (made, x + random_like(made - x, rng))
    made, activation = sae.part(x, feature, scale=scale, value=value)
    name = f"{'plus ' if adds else ''}feature {feature} at {activation:.4g}"
    return (name, "random direction"), (made, random_like(made, rng))


def compared_with_reconstruction(
    session: Session,
    sae: Autoencoder,
    position: int,
    made: tuple[tuple[str, str], tuple[Tensor, Tensor]],
    notes: list[str],
    *,
    adds: bool,
    max_tokens: int | None,
    verb: str,
) -> Steps[Compared]:
    """The baseline, the state that is put there, and one put there at random, side by side."""
    from sessions.comparisons.diverging import divergences
    from sessions.interventions.answering import compare
    from sessions.patching.injecting import Injection, injected
    from sessions.patching.reaching import reaches

    opened, encoded, about = session.opened(), session.encoded(), sae.about
    names, states = made
    baseline = (encoded, Condition("baseline", session.in_force))
    if not reaches(opened, baseline, about.layer, about.site, position, session.cancel):  # type: ignore[arg-type]
        notes.append(f"nothing after position {position} reads layer {about.layer} there, so the change has no effect")
    rows: list[list[Injection]] = [[]]
    rows += [[Injection(about.layer, about.site, position, state, adds=adds)] for state in states]  # type: ignore[arg-type]
    conditions = [Condition(name, session.in_force) for name in ("baseline", *names)]
    decoding = decoded(session, max_tokens=max_tokens)
    with injected(opened.anatomy, rows):
        arms, logits = yield from compare(opened, encoded, conditions, decoding, cancel=session.cancel)
    with injected(opened.anatomy, rows):
        kl = yield from divergences(opened, encoded, conditions, arms[0].ids, cancel=session.cancel)
    arms = tuple(structs.replace(arm, kl=divergence) for arm, divergence in zip(arms, kl, strict=True))
    session.last_output = LastOutput(text=arms[1].text, baseline=arms[0].text, logits=logits[1])
    return Compared(
        verb=verb,
        selection=names[0],
        neurons=0,
        scope=f"{about.site} of layer {about.layer} at position {position}, {encoded.tokens[position]!r}",
        encoded=encoded,
        target=None,
        arms=arms,
        shifts=shifts(arms[0], arms[1]),
        notes=tuple(notes),
    )
