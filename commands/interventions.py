"""Interventions beside the untouched model: `ablate`, `amplify`, `shift`, `set-to`, and any number of them: `arms`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.choices import HELD_AT
from commands.fields import MaxTokens
from commands.limits import Limits
from commands.names import TextsOrMeans
from commands.prompting import decoded
from commands.request import Arg, Flag, Flags, Needs, Opt, Request
from commands.verb import verb
from commands.words import Gain, NumberWord, SelectionWord, Word
from sessions.circuits.doubts import doubts_of
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition, remarks, shifts
from sessions.interventions.intervention import (
    Intervention,
    beside_live,
    refuse_overlaps,
    sites_of,
    without_suppressed,
)
from sessions.model.units import Neuron
from sessions.references import corpus, kept_means
from sessions.results import Compared, WorkingSet
from sessions.session import LastOutput, Session
from sessions.store import Key

if TYPE_CHECKING:
    from sessions.circuits.attribution import Reference
    from sessions.model.target import Target

FAMILY = "Interventions"

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


class InterventionVerb(Request, frozen=True, kw_only=True):
    """A change of neurons that is shown beside the model without it, or stays in force."""

    selection: Annotated[str, Arg(SelectionWord(), "which neurons")]
    limits: Limits = Limits()
    max_tokens: MaxTokens = None
    live: Annotated[bool, Flag("keep it in force in every text from now on, until release")] = False

    def arm(self) -> tuple[str, float, float]:
        """The name of its arm, the factor, and the constant that is added."""
        raise NotImplementedError

    def held_at(self, session: Session) -> Steps[tuple[Reference | None, list[str]]]:
        """What neurons are held at, None where that is nothing of their own, and remarks on where it is from."""
        return None, []
        yield

    def run(self, session: Session) -> Steps[Compared | WorkingSet]:
        change = yield from changed(session, self)
        if self.live:
            refuse_overlaps([*session.live, change.treatment])
        if self.live and session.prompt is None:
            session.live = (*session.live, change.treatment)
            return in_force(session, notes=(*change.notes, "there is no prompt to show it on"))
        shown = yield from _compared(session, self.verb_name, [change], self.max_tokens)
        if self.live:
            session.live = (*session.live, change.treatment)
            shown = structs.replace(shown, notes=(*shown.notes, "it stays in force in every text until release"))
        return shown


@verb("ablate", family=FAMILY, example=("ablate top50", "ablate all - L24/* --mean", "ablate top10 --live --generated"))
class Ablate(InterventionVerb, frozen=True, kw_only=True):
    """Ablate neurons and show what the model says without them.

    The text with the neurons at zero appears beside the unchanged one, with the shift of the next-token
    distribution. A neuron written with a position, L24/N1005@41, is ablated there only. The change ends with the
    command, unless --live keeps it in force; --live needs no prompt.

    Zero can be far from anything a neuron usually does. --mean holds it at its mean instead, and --resample at its
    value at one position of another text, drawn with the setting rng.
    """

    selection: Annotated[str, Arg(SelectionWord(), "which neurons (default: the whole circuit)")] = "all"
    held: Annotated[
        str,
        Flags(
            {
                "zero": "hold them at zero (default)",
                "mean": "hold each at its mean over built-in texts, or --over",
                "resample": "hold all at their values at one position drawn from those",
            }
        ),
    ] = "zero"
    over: Annotated[
        Path | Key | None, Opt(TextsOrMeans(), "means:NAME, or a file of prompts to take means or a position from")
    ] = None
    force: Annotated[bool, Flag("use means:NAME of another model")] = False

    rules = (Needs(("over",), "held", "--over is for --mean and --resample", "give one of them, or leave it out"),)

    def arm(self) -> tuple[str, float, float]:
        return "ablated" if self.held == "zero" else f"ablated to {HELD_AT[self.held]}", 0.0, 0.0

    def held_at(self, session: Session) -> Steps[tuple[Reference | None, list[str]]]:
        if self.held == "zero":
            return None, []
        return (yield from _reference(session, self.held, self.over, self.force))


@verb("amplify", family=FAMILY, example=("amplify top10 3", "amplify all 2 --answer"))
class Amplify(InterventionVerb, frozen=True, kw_only=True):
    """Multiply neurons by a factor (2 unless given) and show what changes."""

    selection: Annotated[str, Arg(SelectionWord(), "which neurons (default: the whole circuit)")] = "all"
    factor: Annotated[float, Arg(NumberWord(), "the factor")] = 2.0

    def arm(self) -> tuple[str, float, float]:
        return f"amplified ×{self.factor:g}", self.factor, 0.0


@verb("shift", family=FAMILY, example=("shift L24/N1005 5 --generated", "shift preset:calm -2 --live"))
class ShiftNeurons(InterventionVerb, frozen=True, kw_only=True):
    """Add a constant to neurons, whatever they are, and show what changes.

    The text can then fall into a loop. Unless the setting guard is off, a third identical token in a row is
    forbidden, and the result says how often that happened.
    """

    gain: Annotated[float, Arg(Gain(), "how much, in the units of the activation")]

    def arm(self) -> tuple[str, float, float]:
        return f"shifted {self.gain:+g}", 1.0, self.gain


@verb("set-to", family=FAMILY, example=("set-to L24/N1005 5 --generated", "set-to L24/N1005 0.5 --positions 3-7"))
class SetTo(InterventionVerb, frozen=True, kw_only=True):
    """Hold neurons at a value and show what changes."""

    gain: Annotated[float, Arg(Gain(), "what they are held at", metavar="VALUE")]

    def arm(self) -> tuple[str, float, float]:
        return f"set to {self.gain:g}", 0.0, self.gain


@verb(
    "arms",
    family=FAMILY,
    example=('arms "ablate top10" "amplify top10 2" "shift L24/N1005 5 --generated"', 'arms untouched "ablate top10"'),
)
class Arms(Request, frozen=True):
    """Run any number of interventions side by side, as the rows of one batch.

    Every arm reads the same prompt and, when sampling, uses the same random numbers. For each the result shows the
    target's probability, how far it is from the baseline (KL in nats, at each step of the baseline's text), how
    much it repeats itself, and its length.
    """

    lines: Annotated[
        tuple[str, ...],
        Arg(
            Word(),
            "an intervention each, as a line; baseline is always there, untouched leaves out what is live",
            metavar="LINE…",
            many=True,
        ),
    ]
    max_tokens: MaxTokens = None

    def run(self, session: Session) -> Steps[Compared]:
        changes = []
        for line in self.lines:
            changes.append((yield from _arm(session, line)))
        names = [change.name for change in changes]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"the arm '{twice}' is there twice", "give each arm once")
        return (yield from _compared(session, "arms", changes, self.max_tokens))


def _arm(session: Session, line: str) -> Steps[ActivationChange]:
    """One arm of many, from the line that would make it alone."""
    from commands.grammar import VERBS, parse  # which is made of the verbs here

    if line.strip() == UNTOUCHED:
        return ActivationChange(UNTOUCHED, Intervention((), label=UNTOUCHED), "", "")
    try:
        call = parse(line)
    except UsageError as error:
        hint = 'a line each: arms "ablate top10" "shift L24/N1005 5"' if " " not in line.strip() else error.hint
        raise UsageError(f"the arm '{line}': {error.message}", hint) from error
    asked = VERBS[call.verb].request(call.params)
    if not isinstance(asked, InterventionVerb):
        known = [name for name, each in VERBS.items() if issubclass(each.kind, InterventionVerb)]
        raise UsageError(f"the arm '{line}' is not an intervention", f"one of: {', '.join(known)}, {UNTOUCHED}")
    if asked.live or asked.max_tokens is not None:
        raise UsageError(
            f"the arm '{line}' has an option of the whole comparison", "--max-tokens stands behind all arms"
        )
    change = yield from changed(session, asked)
    return replace(change, name=" ".join(line.split()))


# ---- from words to treatments


def changed(session: Session, asked: InterventionVerb) -> Steps[ActivationChange]:
    """What an intervention changes.

    Raises:
        UsageError: a word of it means nothing here.
    """
    encoded = None if session.prompt is None and asked.live else session.encoded()
    selection, at = session.select(asked.selection), asked.limits.at
    where = asked.limits.where(session, encoded)
    name, multiplier, constant = asked.arm()
    neurons = selection.spread(at)
    constants: tuple[float, ...] = ()
    notes = _places_of_another_prompt(session) if at == "circuit" and encoded is not None else []
    reference, more = yield from asked.held_at(session)
    notes += more
    if reference is not None:
        constants = tuple(reference.at(session.opened().anatomy, Neuron(*neuron.site)) for neuron in neurons)
    if constant:
        constants = (constant,) * len(neurons)
    label = f"{name} {selection.text}" if where.everywhere else f"{name} {selection.text} {where}"
    treatment = Intervention(neurons, multiplier, constants, where, label)
    if constants:
        treatment, more = without_suppressed(treatment, [neuron.site for neuron in session.suppressed])
        notes += more
    scope = str(where) if not where.everywhere else at
    return ActivationChange(name, treatment, selection.text, scope, tuple(notes))


def _places_of_another_prompt(session: Session) -> list[str]:
    """A remark where the circuit was found on other tokens than those of the prompt at hand."""
    circuit, ids = session.circuit, session.encoded().ids
    if circuit is None or not circuit.ids or circuit.ids[: len(ids)] == ids:
        return []
    return [f"neurons are changed at their positions in another prompt, {circuit.prompt.text!r}"]


def _reference(session: Session, held: str, over: Path | Key | None, force: bool) -> Steps[tuple[Reference, list[str]]]:
    """Means, or one state of the neurons, and a remark on where they are from."""
    from sessions.circuits.attribution import Reference
    from sessions.circuits.recording import means
    from sessions.comparisons.ablation_values import drawn

    if isinstance(over, Key):
        if held != "mean":
            raise UsageError(f"--resample takes a position of a text, and {over} are means", "name a file of prompts")
        kept, notes = kept_means(session, over.name, force=force)
        return Reference(kept), notes
    texts, which = corpus(session, over)
    if held == "mean":
        found = yield from means(session.opened(), texts, session.home, session.cancel, under=session.state_key())
        return Reference(found), [f"held at means over {which}"]
    place = drawn(session.opened(), texts, session.settings.rng, session.cancel)
    return place.values, [f"held at what they were at position {place.position} of text {place.text + 1} of {which}"]


# ---- arms


def _compared(
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
    found, logits = yield from compare(opened, encoded, conditions, decoding, target=target, cancel=session.cancel)
    kl = yield from divergences(opened, encoded, conditions, found[0].ids, cancel=session.cancel)
    found = tuple(structs.replace(arm, kl=each) for arm, each in zip(found, kl, strict=True))
    session.last_output = LastOutput(text=found[-1].text, baseline=found[0].text, logits=logits[-1])
    return Compared(
        verb=verb,
        selection=changes[0].selection if verb != "arms" else f"{len(changes)} beside the baseline",
        neurons=len(sites_of(change.treatment for change in changes)),
        scope=changes[0].scope if verb != "arms" else "",
        encoded=encoded,
        target=target,
        arms=found,
        shifts=shifts(found[0], found[1]) if len(found) == 2 else (),
        notes=(*dict.fromkeys(notes), *remarks(found)),
    )


def in_force(
    session: Session, added: int = 0, released: int = 0, ended: int = 0, notes: tuple[str, ...] = ()
) -> WorkingSet:
    """What is in force now, and what a line changed of it."""
    return WorkingSet(
        suppressed=session.suppressed,
        live=tuple((treatment.said, len(treatment.neurons)) for treatment in session.live),
        added=added,
        released=released,
        ended=ended,
        notes=notes,
    )


def target_of(session: Session) -> Target | None:
    """The circuit's target, where it is about the prompt in use and its tokens are known."""
    circuit = session.circuit
    return None if circuit is None or circuit.prompt != session.prompt else circuit.known_target


def doubts(session: Session) -> tuple[str, ...]:
    """Remarks on a circuit that was found elsewhere, or on another state of the model."""
    if session.circuit is None:
        return ()
    edits = () if session.ledger is None else tuple(edit.name for edit in session.ledger.active)
    return tuple(doubts_of(session.circuit, session.prompt, tuple(map(str, session.suppressed)), edits))
