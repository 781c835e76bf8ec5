"""Changed texts beside the unchanged one, and the working set: `ablate`, `arms`, `suppress`, `strength`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, log
from statistics import fmean

from sessions import results
from sessions.interventions.arms import Arm, Shift, repetition
from sessions.model.target import Target
from sessions.views.blocks import (
    AnyBlock,
    ArmText,
    Bar,
    Bars,
    Column,
    Fact,
    Facts,
    Row,
    StandsFor,
    Table,
    Texts,
)
from sessions.views.registry import facts, viewed
from sessions.views.writing import aim, chance, counted, divergence, signed

SCOPES = {"all": "at all positions", "circuit": "at the circuit's positions"}
#: How many tokens of a shift are shown.
_SHIFTS = 10


@viewed.register
def _(value: results.Compared) -> Iterator[AnyBlock]:
    yield intervention(value.verb, value)
    if len(value.arms) > 2:
        yield _measures(value)
    yield texts(value.arms)
    if value.shifts:
        yield bars(value.arms, value.shifts, value.target)


def intervention(verb: str, value: results.Intervened) -> Facts:
    """What was done, to which neurons, and where."""
    return facts(
        f"{verb} {value.selection}".rstrip(),
        counted(value.neurons, value.unit) if value.neurons else "",
        SCOPES.get(value.scope, value.scope),
        "" if value.target is None else f"target {aim(value.target)}",
    )


def texts(arms: Sequence[Arm]) -> Texts:
    """The texts of all arms, marked where they diverge."""
    marks = parting([arm.text for arm in arms])
    return Texts(
        arms=tuple(
            ArmText(facts=tuple(filter(None, arm_facts(arm, arms[0]))), text=arm.text, parts_at=mark)
            for arm, mark in zip(arms, marks, strict=True)
        )
    )


def parting(texts_of: Sequence[str]) -> list[int | None]:
    """Where each text first differs from the first, and the first from any other; None where there is no difference."""
    first = texts_of[0]
    places = [None if text == first else divergence(first, text) for text in texts_of]
    left = [place for place in places if place is not None]
    return [min(left) if left else None, *places[1:]]


def arm_facts(arm: Arm, first: Arm) -> Iterator[str]:
    """The facts above the text of an arm."""
    yield arm.name
    if arm.target is not None:
        yield f"target {signed(arm.target)}"
    if arm.target_probability is not None:
        yield f"p {chance(arm.target_probability)}"
    divergences = _divergences(arm)
    if arm is not first and divergences:
        yield f"KL {fmean(divergences):.3f}"
    if arm.fired is not None and (arm.fired < arm.read or any(part.fired < arm.read for part in arm.parts)):
        yield from in_force(arm)
    if arm is not first and arm.text == first.text:
        yield "same text"
    yield ending(arm)
    yield held_back(arm)


_ENDINGS = {
    "eos": "ended by itself",
    "length": "cut at max_tokens",
    "nan": "stopped: logits are not finite",
}


def ending(arm: Arm) -> str:
    """Why a text ends."""
    return _ENDINGS.get(arm.stopped, f"stopped: {arm.stopped}")


def in_force(arm: Arm) -> Iterator[str]:
    """At how many of its tokens the intervention was in force, by part where it has several."""
    if len(arm.parts) < 2:
        if arm.fired is not None:
            yield f"in force at {arm.fired:,} of {arm.read:,} tokens"
        return
    for part in arm.parts:
        where = f"{part.part}: {counted(part.neurons, part.unit)}"
        yield f"{where} at {part.fired:,} of {arm.read:,} tokens" if part.fired else f"{where}, never in force"


def held_back(arm: Arm) -> str:
    """How often a rule against repetition, such as the stutter guard, changed a text; "" where none did."""
    return f"{arm.guarded:,} {'repeat' if arm.guarded == 1 else 'repeats'} held back" if arm.guarded else ""


def _divergences(arm: Arm) -> list[float]:
    return [each for each in arm.kl if each is not None]


_ARM = Column(key="arm", title="arm", kind="name")
_MEASURES = (
    Column(key="target", title="target", kind="signed", drop=7),
    Column(key="probability", title="p", kind="number", digits=3, drop=6),
    Column(key="log_probability", title="log p", kind="signed", drop=3),
    Column(key="kl", title="KL", kind="number", digits=3, drop=5),
    Column(key="kl_largest", title="at most", kind="number", digits=3, drop=2),
    Column(key="repetition", title="repeats", kind="share", drop=1),
    Column(key="tokens", title="tokens", kind="number", drop=4),
)


def _measures(value: results.Compared) -> Table:
    """A row for each arm: the target, its distance from the baseline, and measures of its text."""
    kept = [at for at in range(len(_MEASURES)) if value.target is not None or at > 2]
    rows = []
    for arm in value.arms:
        known = _divergences(arm)
        kl, largest = (fmean(known), max(known)) if known else (None, None)
        cells = (arm.target, arm.target_probability, log_chance(arm), kl, largest, repetition(arm.ids), len(arm.ids))
        rows.append(Row(cells=(arm.name, *(cells[at] for at in kept)), stands_for=StandsFor("arm", arm.name)))
    return Table(columns=(_ARM, *(_MEASURES[at] for at in kept)), rows=tuple(rows))


def log_chance(arm: Arm) -> float | None:
    """The target's log-probability in nats; None where it has none."""
    p = arm.target_probability
    return None if p is None else log(p) if p else -inf


def bars(arms: Sequence[Arm], shifts: Sequence[Shift], target: Target | None) -> Bars:
    """How the chances of the next token move from the first arm to the second."""
    roles = target_roles(target)
    return Bars(
        title="next token",
        names=(arms[0].name, arms[min(1, len(arms) - 1)].name),
        bars=tuple(
            Bar(token=shift.token.text, before=shift.before, after=shift.after, role=roles.get(shift.token.id, ""))
            for shift in shifts[:_SHIFTS]
        ),
    )


def target_roles(target: Target | None) -> dict[int, str]:
    """The role of a target's tokens, by id: `target`, and `against` for the one that it is measured against."""
    roles = {} if target is None or not target.tokens else {target.tokens[0].id: "target"}
    if target is not None and target.counterfactual is not None:
        roles[target.counterfactual.id] = "against"
    return roles


@viewed.register
def _(value: results.WorkingSet) -> Iterator[AnyBlock]:
    done = {"suppressed": value.added, "released": value.released, "ended on": value.ended}
    said = [f"{word} {counted(count, value.unit)}" for word, count in done.items() if count]
    if said:
        yield facts(*said)
    names = ", ".join(map(str, value.suppressed))
    rows = [Fact(f"{len(value.suppressed):,}: {names}" if value.suppressed else "none", "suppressed")]
    for number, (label, count) in enumerate(value.live, 1):
        rows.append(Fact(f"{label}, {counted(count, value.unit)}", f"live {number}"))
    yield Facts(items=tuple(rows))


#: How each kind of strength is written.
_TURNED = {"live": "strength", "alpha": "α", "beta": "β"}


@viewed.register
def _(value: results.StrengthShown) -> Iterator[AnyBlock]:
    for row in value.rows:
        word = _TURNED.get(row.what, row.what)
        change = f"×{row.strength:g}" if row.before == row.strength else f"×{row.before:g} → ×{row.strength:g}"
        made = "" if row.made is None else f"{row.made * row.strength:.4g}"
        yield facts(f"{word} {change}", made, row.name)
