"""Changed texts beside the unchanged one: the results of `ablate`, `amplify`, `sweep`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.circuits.circuit import Target
from sessions.interventions.arms import Arm
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
    multiple,
    plain,
    quoted,
    signed,
)

_SCOPES = {"all": "at all positions", "circuit": "where the circuit found them"}


@shown.register
def _(value: results.Compared, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield _intervention(value.verb, value, sheet)
    texts = _marked([plain(arm.text) for arm in value.arms])
    width = sheet.width // max(len(value.arms), 1) - 3 if sheet.width >= parts.WIDE else sheet.width
    headings = [facts(arm_facts(arm, value.arms[0]), width) for arm in value.arms]
    if sheet.width >= parts.WIDE:
        pair = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False, expand=True)
        for _ in value.arms:
            pair.add_column(ratio=1, overflow="fold")
        pair.add_row(*map(parts.dim, headings))
        pair.add_row(*texts)
        yield pair
    else:
        for heading, text in zip(headings, texts, strict=True):
            yield parts.dim(heading)
            yield text
    if value.shifts:
        yield _shifts(value, sheet)


@shown.register
def _(value: results.Swept, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield _intervention("sweep", value, sheet)
    wide = sheet.width >= parts.WIDE
    columns = (">target", ">p", "") if value.target is not None else ()
    table = parts.table(sheet, ">", *columns, "next token", "text")
    for arm in value.arms:
        likeliest = max(arm.next_tokens, key=lambda token: token.probability, default=None)
        cells = [multiple(arm.multiplier)]
        if value.target is not None:
            drawn = f"{bar(arm.target_probability, 20 if wide else 8):<8}"
            cells += [signed(arm.target), chance(arm.target_probability), drawn]
        chosen = MISSING if likeliest is None else fitted(quoted(likeliest.text), 16)
        table.add_row(*cells, parts.cell(chosen), parts.text(arm.text) if wide else parts.cell(inline(arm.text)))
    yield table


def _intervention(verb: str, value: results.Intervened, sheet: parts.Sheet) -> RenderableType:
    count = "1 neuron" if value.neurons == 1 else f"{value.neurons:,} neurons"
    target = "" if value.target is None else f"target {aim(value.target)}"
    scope = _SCOPES.get(value.scope) or inline(value.scope)
    return facts([f"{inline(verb)} {inline(value.selection)}", count, scope, target], sheet.width)


def arm_facts(arm: Arm, first: Arm) -> Iterator[str]:
    """What is to be said of an arm above its text."""
    name, times = inline(arm.name), multiple(arm.multiplier)
    yield name if arm is first or times in name else f"{name} {times}"
    if arm.target is not None:
        yield f"target {signed(arm.target)}"
    if arm.target_probability is not None:
        yield f"p {chance(arm.target_probability)}"
    if arm is not first and arm.text == first.text:
        yield "same text"
    yield parts.ending(arm)


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


def _shifts(value: results.Compared, sheet: parts.Sheet, rows: int = 10) -> RenderableType:
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
