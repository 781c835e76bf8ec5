"""Interventions beside the session as it stands, and what is in force in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.artifacts import Key
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition, remarks, shifts
from sessions.interventions.intervention import Intervention, beside_live, units_of
from sessions.last_output import LastOutput
from sessions.model.units import Unit, kind_in
from sessions.procedures.circuits import doubts, target_of
from sessions.procedures.generating import decoded
from sessions.references import corpus, kept_means
from sessions.results import Compared, WorkingSet
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.circuits.attribution import Reference

BASELINE = "baseline"
#: What an arm of `arms` is called that has nothing done to it, not even what is live.
UNTOUCHED = "untouched"


@dataclass(frozen=True)
class ActivationChange:
    """What a line asks for: the name of its arm, what is done, to what, and remarks."""

    name: str
    treatment: Intervention
    selection: str
    scope: str
    notes: tuple[str, ...] = ()


def places_of_another_prompt(session: Session) -> list[str]:
    """A remark where the circuit was found on other tokens than those of the prompt at hand."""
    circuit, ids = session.circuit, session.encoded().ids
    if circuit is None or not circuit.ids or circuit.ids[: len(ids)] == ids:
        return []
    return [f"neurons are changed at their positions in another prompt, {circuit.prompt.text!r}"]


def ablation_reference(
    session: Session, held: str, over: Path | Key | None, force: bool
) -> Steps[tuple[Reference, list[str]]]:
    """Means, or one state of the neurons, and a remark on where they are from."""
    from sessions.circuits.recording import means
    from sessions.comparisons.ablation_values import drawn

    if isinstance(over, Key):
        if held != "mean":
            raise UsageError(f"--resample takes a position of a text, and {over} are means", "name a file of prompts")
        return kept_means(session, over.name, force=force)
    texts, which = corpus(session, over)
    if held == "mean":
        averages = yield from means(session.opened(), texts, session.home, session.cancel, under=session.state_key())
        return averages, [f"held at means over {which}"]
    place = drawn(session.opened(), texts, session.settings.rng, session.cancel)
    return place.values, [f"held at what they were at position {place.position} of text {place.text + 1} of {which}"]


def corrupt_activations(session: Session, text: str) -> tuple[Reference, list[str]]:
    """The activations in another prompt of the length of the session's, by position, and a remark on the two.

    Raises:
        UsageError: they have different lengths, or are the same; or there is no prompt.
    """
    from sessions.circuits.pairs import check_pair, remarks
    from sessions.circuits.recording import recorded

    clean = session.encoded()
    corrupt = session.read(structs.replace(clean.prompt, exact=(), text=text))
    check_pair(clean, corrupt, "the pair")
    return recorded(session.opened(), corrupt.ids, len(clean.ids), session.cancel), [*remarks([(clean, corrupt)])]


def at_each_position(units: Sequence[Unit], length: int) -> tuple[Unit, ...]:
    """The units at each position of a text; those with a position at that one alone."""
    places = (
        structs.replace(unit, position=position)
        for unit in units
        for position in (range(length) if unit.position is None else [unit.position])
    )
    return tuple({unit.place: unit for unit in places}.values())


def compared_with_baseline(
    session: Session, verb: str, changes: Sequence[ActivationChange], max_tokens: int | None
) -> Steps[Compared]:
    """The baseline, which is the session as it stands, beside every change."""
    from sessions.comparisons.diverging import divergences
    from sessions.interventions.answering import compare

    opened, encoded, target = session.opened(), session.encoded(), target_of(session)
    conditions, notes = [Condition(BASELINE, session.in_force)], [*doubts(session)]
    for change in changes:
        treatments, more = beside_live(change.treatment, session.in_force) if change.name != UNTOUCHED else ((), ())
        conditions.append(Condition(change.name, treatments, change.treatment.multiplier))
        notes += [*change.notes, *more]
    pushes = any(treatment.pushes for condition in conditions for treatment in condition.treatments)
    decoding = decoded(session, max_tokens=max_tokens, pushes=pushes)
    compared, logits = yield from compare(opened, encoded, conditions, decoding, target=target, cancel=session.cancel)
    kl = yield from divergences(opened, encoded, conditions, compared[0].ids, cancel=session.cancel)
    compared = tuple(structs.replace(arm, kl=divergence) for arm, divergence in zip(compared, kl, strict=True))
    session.last_output = LastOutput(text=compared[-1].text, baseline=compared[0].text, logits=logits[-1])
    changed_units = units_of(change.treatment for change in changes)
    return Compared(
        verb=verb,
        selection=changes[0].selection if verb != "arms" else f"{len(changes)} beside the baseline",
        neurons=len(changed_units),
        unit=kind_in(map(Unit.at, changed_units)),
        scope=changes[0].scope if verb != "arms" else "",
        encoded=encoded,
        target=target,
        arms=compared,
        shifts=shifts(compared[0], compared[1]) if len(compared) == 2 else (),
        notes=(*dict.fromkeys(notes), *remarks(compared)),
    )


def in_force(
    session: Session,
    added: int = 0,
    released: int = 0,
    ended: int = 0,
    notes: tuple[str, ...] = (),
    units: Sequence[Unit] = (),
) -> WorkingSet:
    """What is in force now, and what a line changed of it; `units` are those that it released."""
    live = [unit for treatment in session.live for unit in treatment.neurons]
    return WorkingSet(
        suppressed=session.suppressed,
        live=tuple((treatment.said, len(treatment.neurons)) for treatment in session.live),
        added=added,
        released=released,
        ended=ended,
        unit=kind_in((*units, *session.suppressed, *live)),
        notes=notes,
    )
