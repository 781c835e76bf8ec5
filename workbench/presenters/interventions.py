"""Changed texts beside the unchanged one, and what stays in force: the results of interventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf, log
from statistics import fmean

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.circuits.circuit import Target
from sessions.interventions.arms import Arm, repetition
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import (
    MISSING,
    aim,
    bar,
    chance,
    divergence,
    facts,
    fitted,
    inline,
    percent,
    plain,
    quoted,
    signed,
)

#: Cells from which on a table of arms has all its columns.
_ROOM = 72
#: Cells that a text needs to stand beside others.
_COLUMN = 40
SCOPES = {"all": "at all positions", "circuit": "where the circuit found them"}


@shown.register
def _(value: results.Compared, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield intervention(value.verb, value, sheet)
    if len(value.arms) > 2:
        yield _measures(value, sheet)
    yield from side_by_side(value.arms, sheet)
    if value.shifts:
        yield table_of_shifts(value, sheet)


def side_by_side(arms: Sequence[Arm], sheet: parts.Sheet) -> Iterator[RenderableType]:
    """The texts of all arms, beside each other where there is room, marked where they part from the first."""
    texts = _marked([plain(arm.text) for arm in arms])
    beside = sheet.width >= parts.WIDE and sheet.width // len(arms) >= _COLUMN
    width = sheet.width // len(arms) - 3 if beside else sheet.width
    headings = [facts(arm_facts(arm, arms[0]), width) for arm in arms]
    if beside:
        pair = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False, expand=True)
        for _ in arms:
            pair.add_column(ratio=1, overflow="fold")
        pair.add_row(*map(parts.dim, headings))
        pair.add_row(*texts)
        yield pair
    else:
        for heading, text in zip(headings, texts, strict=True):
            yield parts.dim(heading)
            yield text


def _measures(value: results.Compared, sheet: parts.Sheet) -> RenderableType:
    """A row for each arm: the target, how far it is from the baseline, and what its text is like."""
    columns: dict[str, Callable[[Arm], str]] = {
        ">target": lambda arm: signed(arm.target),
        ">p": lambda arm: chance(arm.target_probability),
        ">log p": lambda arm: signed(log_chance(arm)),
        ">KL": lambda arm: _kl(arm, fmean),
        ">at most": lambda arm: _kl(arm, max),
        ">repeats": lambda arm: percent(repetition(arm.ids)),
        ">tokens": lambda arm: f"{len(arm.ids)}",
    }
    left_out = [] if value.target is not None else [">target", ">p", ">log p"]
    left_out += [] if sheet.width >= _ROOM else [">log p", ">at most", ">repeats"]
    shown_columns = {name: told for name, told in columns.items() if name not in left_out}
    table = parts.table(sheet, "arm", *shown_columns)
    table.columns[0].min_width = min(max(len(inline(arm.name)) for arm in value.arms), sheet.width // 3)
    for arm in value.arms:
        table.add_row(parts.cell(inline(arm.name)), *(told(arm) for told in shown_columns.values()))
    return table


def _kl(arm: Arm, over: Callable[[list[float]], float]) -> str:
    known = [each for each in arm.kl if each is not None]
    return f"{over(known):.3f}" if known else MISSING


def log_chance(arm: Arm) -> float | None:
    """The target's log-probability in nats; None where it has none."""
    p = arm.target_probability
    return None if p is None else log(p) if p else -inf


def intervention(verb: str, value: results.Intervened, sheet: parts.Sheet) -> RenderableType:
    count = parts.counted(value.neurons, "neuron") if value.neurons else ""
    target = "" if value.target is None else f"target {aim(value.target)}"
    scope = SCOPES.get(value.scope, inline(value.scope))
    return facts([f"{inline(verb)} {inline(value.selection)}", count, scope, target], sheet.width)


def arm_facts(arm: Arm, first: Arm) -> Iterator[str]:
    """What is to be said of an arm above its text."""
    yield inline(arm.name)
    if arm.target is not None:
        yield f"target {signed(arm.target)}"
    if arm.target_probability is not None:
        yield f"p {chance(arm.target_probability)}"
    if arm is not first and any(each is not None for each in arm.kl):
        yield f"KL {_kl(arm, fmean)}"
    if arm.fired is not None and (arm.fired < arm.read or any(part.fired < arm.read for part in arm.parts)):
        yield from parts.in_force(arm)
    if arm is not first and arm.text == first.text:
        yield "same text"
    yield parts.ending(arm)
    yield parts.held_back(arm)


def _marked(texts: Sequence[str]) -> list[Line]:
    """The texts, with `▸` where each first leaves the first one, and in the first where it is first left."""
    places = [None if text == texts[0] else divergence(texts[0], text) for text in texts]
    left = [place for place in places if place is not None]
    marks = [min(left) if left else None, *places[1:]]
    return [
        parts.text(text)
        if place is None or not text
        else Line.assemble(text[:place], ("▸", "bold"), text[place:], overflow="fold")
        for text, place in zip(texts, marks, strict=True)
    ]


def table_of_shifts(value: results.Compared | results.Injected, sheet: parts.Sheet, rows: int = 10) -> RenderableType:
    """How the chances of the next token move from the first arm to the second."""
    names = [inline(arm.name) for arm in value.arms[:2]]
    table = parts.table(sheet, "next token", f">{names[0]}", "", f">{names[-1]}", "", ">change", "")
    cells = parts.bar_cells(sheet, beside=60) // 2
    roles = target_roles(value.target)
    for shift in value.shifts[:rows]:
        table.add_row(
            parts.cell(fitted(quoted(shift.token.text), 20)),
            chance(shift.before),
            f"{bar(shift.before, cells):<{cells}}",
            chance(shift.after),
            f"{bar(shift.after, cells):<{cells}}",
            signed(shift.after - shift.before),
            roles.get(shift.token.id, ""),
        )
    return table


def target_roles(target: Target | None) -> dict[int, str]:
    """What tokens are in a target, by id: `target`, and `against` for the one that it is held against."""
    roles = {} if target is None else {target.tokens[0].id: "target"}
    if target is not None and target.counterfactual is not None:
        roles[target.counterfactual.id] = "against"
    return roles


@shown.register
def _(value: results.WorkingSet, sheet: parts.Sheet) -> Iterator[RenderableType]:
    done = {"suppressed": value.added, "released": value.released, "ended on": value.ended}
    said = [f"{word} {parts.counted(count, 'neuron')}" for word, count in done.items() if count]
    if said:
        yield facts(said, sheet.width)
    names = ", ".join(str(neuron) for neuron in value.suppressed[: sheet.width])
    rows = {"suppressed": f"{len(value.suppressed):,}: {names}" if value.suppressed else "none"}
    for number, (label, count) in enumerate(value.live, 1):
        rows[f"live {number}"] = f"{inline(label)}, {parts.counted(count, 'neuron')}"
    yield parts.pairs({name: fitted(text, 3 * sheet.width) for name, text in rows.items()})


#: What is turned, as it is written.
_TURNED = {"live": "strength", "alpha": "α", "beta": "β"}


@shown.register
def _(value: results.StrengthShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    for row in value.rows:
        word = _TURNED.get(row.what, inline(row.what))
        change = f"×{row.strength:g}" if row.before == row.strength else f"×{row.before:g} → ×{row.strength:g}"
        made = "" if row.made is None else f"{row.made * row.strength:.4g}"
        yield facts([f"{word} {change}", made, inline(row.name)], sheet.width)
