"""Interventions beside the untouched model: `ablate`, `amplify`, `shift`, `set-to`, and any number of them: `arms`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.choices import HELD_AT
from commands.fields import MaxTokens
from commands.limits import Limits
from commands.names import TextsOrMeans
from commands.request import Arg, Excludes, Flag, Flags, Needs, Opt, Request
from commands.verb import verb
from commands.words import Gain, NumberWord, SelectionWord, TextWord, Word
from sessions.artifacts import Key
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.intervention import Intervention, UnitConstant, refuse_overlaps, without_suppressed
from sessions.procedures.intervening import (
    UNTOUCHED,
    ActivationChange,
    ablation_reference,
    at_each_position,
    compared_with_baseline,
    corrupt_activations,
    in_force,
    places_of_another_prompt,
)
from sessions.results import Compared, WorkingSet
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.circuits.attribution import Reference

FAMILY = "Interventions"


class InterventionVerb(Request, frozen=True, kw_only=True):
    """A change of neurons, shown beside the model without it or kept in force."""

    selection: Annotated[str, Arg(SelectionWord(), "which neurons")]
    limits: Limits = Limits()
    max_tokens: MaxTokens = None
    live: Annotated[bool, Flag("keep it in force in every text from now on, until release")] = False

    def arm(self) -> tuple[str, float, float]:
        """The name of its arm, the factor, and the constant that is added."""
        raise NotImplementedError

    @property
    def by_position(self) -> bool:
        """Whether neurons are held at a value of their own at each position of the prompt."""
        return False

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
            return in_force(
                session, notes=(*change.notes, "there is no prompt to show it on: set one, or say something")
            )
        shown = yield from compared_with_baseline(session, self.verb_name, [change], self.max_tokens)
        if self.live:
            session.live = (*session.live, change.treatment)
            shown = structs.replace(shown, notes=(*shown.notes, "it stays in force in every text until release"))
        return shown


@verb(
    "ablate",
    family=FAMILY,
    synonyms=("turn off", "switch off", "off", "zero", "knock out", "knockout", "lesion", "disable", "mean ablation"),
    needs=("model", "prompt", "circuit"),
    example=("ablate top50", "ablate all - L24/* --mean", "ablate top10 --live --generated"),
)
class Ablate(InterventionVerb, frozen=True, kw_only=True):
    """Ablate neurons and show what the model says without them.

    The text with the neurons at zero appears beside the unchanged one, with the shift of the next-token
    distribution. A neuron written with a position, L24/N1005@41, is ablated there only. The change ends with the
    command, unless --live keeps it in force; --live needs no prompt.

    Zero can be far from anything a neuron usually does. --mean holds it at its mean instead, and --resample at its
    value at one position of another text, drawn with the setting rng. --corrupt holds it at its value in another
    prompt of as many tokens, position by position: patching, with the text that comes of it.
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
    corrupt: Annotated[
        str | None, Opt(TextWord(), "hold each at its value in this prompt, at each position of the session's")
    ] = None
    force: Annotated[bool, Flag("use means:NAME of another model")] = False

    rules = (
        Needs(("over",), "held", "--over is for --mean and --resample", "give one of them, or leave it out"),
        Excludes("corrupt", ("held", "over"), "--corrupt does not go with {other}"),
    )

    @property
    def by_position(self) -> bool:
        return self.corrupt is not None

    def arm(self) -> tuple[str, float, float]:
        if self.corrupt is not None:
            return "ablated to the corrupt prompt", 0.0, 0.0
        return "ablated" if self.held == "zero" else f"ablated to {HELD_AT[self.held]}", 0.0, 0.0

    def held_at(self, session: Session) -> Steps[tuple[Reference | None, list[str]]]:
        if self.corrupt is not None:
            return corrupt_activations(session, self.corrupt)
        if self.held == "zero":
            return None, []
        return (yield from ablation_reference(session, self.held, self.over, self.force))


@verb(
    "amplify",
    family=FAMILY,
    synonyms=("multiply", "scale", "boost", "double", "turn up", "increase"),
    needs=("model", "prompt", "circuit"),
    example=("amplify top10 3", "amplify all 2 --answer"),
)
class Amplify(InterventionVerb, frozen=True, kw_only=True):
    """Multiply neurons by a factor (2 unless given) and show what changes."""

    selection: Annotated[str, Arg(SelectionWord(), "which neurons (default: the whole circuit)")] = "all"
    factor: Annotated[float, Arg(NumberWord(), "the factor")] = 2.0

    def arm(self) -> tuple[str, float, float]:
        return f"amplified ×{self.factor:g}", self.factor, 0.0


@verb(
    "shift",
    family=FAMILY,
    synonyms=("add", "steer", "bias", "offset"),
    needs=("model", "prompt"),
    example=("shift L24/N1005 5 --generated", "shift preset:calm -2 --live"),
)
class ShiftNeurons(InterventionVerb, frozen=True, kw_only=True):
    """Add a constant to neurons, whatever they are, and show what changes.

    The text can then fall into a loop. Unless the setting guard is off, a third identical token in a row is
    forbidden, and the result says how often that happened.
    """

    gain: Annotated[float, Arg(Gain(), "how much, in the units of the activation")]

    def arm(self) -> tuple[str, float, float]:
        return f"shifted {self.gain:+g}", 1.0, self.gain


@verb(
    "set-to",
    family=FAMILY,
    synonyms=("clamp", "pin", "fix", "hold at"),
    needs=("model", "prompt"),
    example=("set-to L24/N1005 5 --generated", "set-to L24/N1005 0.5 --positions 3-7"),
)
class SetTo(InterventionVerb, frozen=True, kw_only=True):
    """Hold neurons at a value and show what changes."""

    gain: Annotated[float, Arg(Gain(), "what they are held at", metavar="VALUE")]

    def arm(self) -> tuple[str, float, float]:
        return f"set to {self.gain:g}", 0.0, self.gain


@verb(
    "arms",
    family=FAMILY,
    synonyms=("side by side", "conditions"),
    needs=("model", "prompt", "circuit"),
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
        return (yield from compared_with_baseline(session, "arms", changes, self.max_tokens))


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
    typed = call.request
    if not isinstance(typed, InterventionVerb):
        known = [name for name, verb in VERBS.items() if issubclass(verb.kind, InterventionVerb)]
        raise UsageError(f"the arm '{line}' is not an intervention", f"one of: {', '.join(known)}, {UNTOUCHED}")
    if typed.live or typed.max_tokens is not None:
        raise UsageError(f"the arm '{line}' has an option of the whole comparison", "give --max-tokens after all arms")
    change = yield from changed(session, typed)
    return replace(change, name=" ".join(line.split()))


# ---- from words to treatments


def changed(session: Session, call: InterventionVerb) -> Steps[ActivationChange]:
    """What an intervention changes.

    Raises:
        UsageError: a word of it means nothing here.
    """
    encoded = None if session.prompt is None and call.live else session.encoded()
    selection, at = session.select(call.selection), call.limits.at
    where = call.limits.where(session, encoded)
    name, multiplier, constant = call.arm()
    neurons = selection.spread(at)
    constants: tuple[UnitConstant, ...] = ()
    notes = places_of_another_prompt(session) if at == "circuit" and encoded is not None else []
    reference, more = yield from call.held_at(session)
    notes += more
    if reference is not None and call.by_position:
        neurons = at_each_position(neurons, len(session.encoded().ids))
        constants = tuple(reference.at(session.opened().anatomy, neuron) for neuron in neurons)
    elif reference is not None:
        constants = tuple(reference.at(session.opened().anatomy, neuron.bare) for neuron in neurons)
    if constant:
        constants = (constant,) * len(neurons)
    label = f"{name} {selection.text}" if where.everywhere else f"{name} {selection.text} {where}"
    treatment = Intervention(neurons, multiplier, constants, where, label)
    if constants:
        treatment, more = without_suppressed(treatment, [neuron.anywhere for neuron in session.suppressed])
        notes += more
    scope = str(where) if not where.everywhere else at
    return ActivationChange(name, treatment, selection.text, scope, tuple(notes))
