"""Arms: the same prompt answered under different interventions, side by side. Data only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from sessions.interventions.intervention import Intervention
from sessions.model.info import Token, TokenChance


class Condition(Struct, frozen=True):
    """An arm to run: its name, its interventions, and the multiplier that a sweep shows for it."""

    name: str
    treatments: tuple[Intervention, ...] = ()
    multiplier: float = 1.0


class PartInForce(Struct, frozen=True):
    """A part of a text with interventions: how many units they change, and at how many tokens they were in force.

    `part` is "always", "prompt", "generated", "thought" or "answer", with its positions if it is limited to some.
    `marker` closes the thought, if that bounds the part. `opened` is false for an answer that never began, because the
    marker did not come.
    """

    part: str
    neurons: int
    fired: int
    marker: str = ""
    opened: bool = True
    unit: str = "neuron"


class Arm(Struct, frozen=True, kw_only=True):
    """One text and the condition it was generated under.

    `multiplier` scales the chosen neurons (1 is the untouched model). `target` is the value of the circuit's target at
    the first generated position (see `Target.value`), None without a circuit; `target_probability` is the probability
    of the target token there. `next_tokens` are the likeliest first tokens. `stopped` says why the text ends: "eos",
    "stop", "length", "cancelled", or "nan" if the logits became NaN. `read` counts the tokens that the model read,
    prompt included. `fired` counts those at which an intervention was in force, None without interventions; `parts`
    counts them for each part of the text. `guarded` counts the tokens that a rule against repetition prevented, None
    without a rule. `kl` is KL(first arm ‖ this arm) in nats at each step of the first arm's text, if it was computed.
    """

    name: str
    multiplier: float
    text: str
    ids: tuple[int, ...]
    stopped: str
    next_tokens: tuple[TokenChance, ...]
    target: float | None = None
    target_probability: float | None = None
    read: int = 0
    fired: int | None = None
    guarded: int | None = None
    kl: tuple[float | None, ...] = ()
    parts: tuple[PartInForce, ...] = ()


def repetition(ids: Sequence[int], n: int = 3) -> float | None:
    """Share of a text's n-grams that occurred before in it (seq-rep-n of Welleck et al. 2019, arXiv:1908.04319).

    None for a text without n-grams.
    """
    grams = [tuple(ids[at : at + n]) for at in range(len(ids) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else None


class Shift(Struct, frozen=True):
    """How the chance of one token as the next token moves between two arms."""

    token: Token
    before: float
    after: float


def shifts(before: Arm, after: Arm) -> tuple[Shift, ...]:
    """Every token listed in both arms' distributions, the largest change first."""
    known = {chance.id: chance for chance in before.next_tokens}
    rows = [
        Shift(Token(chance.id, chance.text), known[chance.id].probability, chance.probability)
        for chance in after.next_tokens
        if chance.id in known
    ]
    return tuple(sorted(rows, key=lambda row: -abs(row.after - row.before)))


def remarks(arms: Sequence[Arm]) -> Iterator[str]:
    """Remarks on arms whose logits became NaN, and on interventions that were never in force."""
    for arm in arms:
        if arm.stopped == "nan":
            step = f"from token {len(arm.ids) + 1} on"
            yield f"'{arm.name}' stopped: its logits are not numbers {step}; a smaller gain keeps them so"
        if arm.fired == 0:
            closed = next((part for part in arm.parts if not part.opened), None)
            yield f"'{arm.name}' was never in force{'' if closed is None else _why(closed)}"
        elif arm.fired is not None:
            yield from (f"'{arm.name}': {remark}" for remark in unopened(arm))


def unopened(arm: Arm) -> Iterator[str]:
    """Remarks on parts of a text that have interventions and never came."""
    for part in arm.parts:
        if not part.fired:
            count = f"{part.neurons:,} neuron{'' if part.neurons == 1 else 's'}"
            verb = "was" if part.neurons == 1 else "were"
            where = "the whole text" if part.part == "always" else part.part
            yield f"{count} for {where} {verb} never in force{_why(part)}"


def _why(part: PartInForce) -> str:
    """Why a part never began, where it is known."""
    return "" if part.opened else f": the marker {part.marker!r} did not come"
