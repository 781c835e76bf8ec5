"""Interventions: `ablate`, `amplify`, `sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commands.choices import SCOPE
from commands.prompting import decoded
from commands.verb import argument, option, verb
from commands.words import Number, SelectionWord, SweptWord, Whole
from sessions.circuits.selection import terms
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition, shifts
from sessions.results import Compared, Swept
from sessions.session import Reading, Session

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.circuits.circuit import Target

FAMILY = "Interventions"

_selection = argument(
    "selection", help="which neurons (default: the whole circuit)", type=SelectionWord(), default="all"
)
_at = option("--at", type=SCOPE, default="all", help="at all positions, or only where the circuit found each neuron")
_max_tokens = option("--max-tokens", type=Whole(), help="tokens to generate at most (default: the setting max_tokens)")


@verb("ablate", family=FAMILY, example="ablate top50")
@_selection
@_at
@_max_tokens
def ablate(session: Session, selection: str, at: str, max_tokens: int | None) -> Steps[Compared]:
    """Switch neurons off and show what the model says without them.

    The text with the neurons at zero appears beside the untouched one, with the shift of the
    next-token distribution. A neuron written with a position, L24/N1005@41, is switched off there
    only. Nothing of it remains afterwards.
    """
    return (yield from _compared(session, "ablate", Condition("ablated", 0.0), selection, at, max_tokens))


@verb("amplify", family=FAMILY, example="amplify top10 3")
@_selection
@argument("factor", help="times how much", type=Number(), default=2.0)
@_at
@_max_tokens
def amplify(session: Session, selection: str, factor: float, at: str, max_tokens: int | None) -> Steps[Compared]:
    """Multiply neurons by a factor (2 unless given) and show what changes."""
    return (
        yield from _compared(session, "amplify", Condition(f"amplified ×{factor:g}", factor), selection, at, max_tokens)
    )


def _compared(
    session: Session, verb: str, changed: Condition, selection: str, at: str, max_tokens: int | None
) -> Steps[Compared]:
    conditions = [Condition("baseline", 1.0), changed]
    shared, logits = yield from _intervened(session, selection, conditions, at, max_tokens)
    before, after = shared["arms"]
    session.reading = Reading(text=after.text, baseline=before.text, logits=logits[1])
    return Compared(verb=verb, shifts=shifts(before, after), **shared)


@verb("sweep", family=FAMILY, example="sweep top50 0 0.5 1 1.5 2")
@argument(
    "words",
    help="a selection (default: the whole circuit), then multipliers (default: 0 0.5 1 1.5 2)",
    type=SweptWord(),
    nargs=-1,
    metavar="[SELECTION] [MULTIPLIER…]",
)
@_at
@_max_tokens
def sweep(session: Session, words: tuple[str, ...], at: str, max_tokens: int | None) -> Steps[Swept]:
    """Run a range of multipliers on the same neurons, all in one batch.

    Shows the target's probability and the text at each multiplier.
    """
    text, multipliers = _swept(words)
    conditions = [Condition(f"×{multiplier:g}", multiplier) for multiplier in multipliers]
    shared, logits = yield from _intervened(session, text, conditions, at, max_tokens, streamed=False)
    last = shared["arms"][-1]
    session.reading = Reading(text=last.text, logits=logits[-1])
    return Swept(**shared)


MULTIPLIERS = (0.0, 0.5, 1.0, 1.5, 2.0)


def _swept(words: tuple[str, ...]) -> tuple[str, tuple[float, ...]]:
    """The selection and the multipliers of a sweep: everything up to the first number is the selection."""
    numbers = [_is_number(word) for word in words]
    first = numbers.index(True) if True in numbers else len(words)
    text = " ".join(words[:first]) or "all"
    terms(text)
    multipliers = tuple(Number().read(word) for word in words[first:])
    if len(set(multipliers)) < len(multipliers):
        raise UsageError("a multiplier is given twice", "for example: sweep all 0 0.5 1 2")
    return text, multipliers or MULTIPLIERS


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _intervened(
    session: Session, text: str, conditions: list[Condition], at: str, max_tokens: int | None, *, streamed: bool = True
) -> Steps[tuple[dict[str, Any], Tensor]]:
    """Run the arms; returns the fields of an `Intervened`, and the logits of the first position, `[arms, vocab]`."""
    from sessions.interventions.comparing import compare

    opened, encoded, selection = session.opened(), session.encoded(), session.select(text)
    neurons, target = selection.spread(at), _target(session)
    finished, logits = yield from compare(
        opened,
        encoded,
        neurons,
        conditions,
        decoded(session, max_tokens=max_tokens),
        target=target,
        streamed=streamed,
        cancel=session.cancel,
    )
    fields = {
        "selection": selection.text,
        "neurons": len({neuron.site for neuron in neurons}),
        "scope": at,
        "encoded": encoded,
        "target": target,
        "arms": finished,
        "notes": _doubts(session),
    }
    return fields, logits


def _target(session: Session) -> Target | None:
    """The circuit's target, where it is about the prompt in use and its tokens are known."""
    circuit = session.circuit
    if circuit is None or circuit.prompt != session.prompt:
        return None
    known = circuit.target.tokens and all(token.id >= 0 for token in circuit.target.tokens)
    return circuit.target if known else None


def _doubts(session: Session) -> tuple[str, ...]:
    circuit = session.circuit
    if circuit is None or circuit.prompt == session.prompt:
        return ()
    if circuit.prompts:
        known = any(asked.to_read() == session.prompt for asked in circuit.prompts)
        return () if known else (f"the circuit was found on {len(circuit.prompts)} prompts, and this is none of them",)
    if not circuit.prompt.text:
        return ("the circuit does not say which prompt it was found on",)
    return (f"the circuit was found on another prompt, {circuit.prompt.text!r}",)
