"""Arms: the same prompt answered under different interventions, side by side. Data only."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.info import Token, TokenChance


class Condition(Struct, frozen=True):
    """An arm to run: its name and the factor on the chosen neurons (1 leaves the model as it is)."""

    name: str
    multiplier: float


class Arm(Struct, frozen=True, kw_only=True):
    """One text and the condition it was generated under.

    `multiplier` scales the chosen neurons (1 is the untouched model). `target` is the value of the
    circuit's target at the first generated position (see `Target.value`), None without a circuit;
    `target_probability` the probability of the target token there. `next_tokens` are the likeliest
    first tokens. `stopped` says why the text ends: "eos", "stop", "length".
    """

    name: str
    multiplier: float
    text: str
    ids: tuple[int, ...]
    stopped: str
    next_tokens: tuple[TokenChance, ...]
    target: float | None = None
    target_probability: float | None = None


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
