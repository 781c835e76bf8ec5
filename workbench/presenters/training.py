"""Rounds of training: the results of `train-round`, `rounds` and `recruits`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.training.findings import Outcome, Round
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, curve, duration, facts, fitted, inline, percent, quoted, signed


@shown.register
def _(value: results.RoundTrained, sheet: parts.Sheet) -> Iterator[RenderableType]:
    found = value.round
    yield facts(
        [
            f"trained {inline(found.name)}",
            parts.counted(len(found.samples), "sample"),
            parts.counted(len(found.outcome.curve), "step"),
            _trained(found),
            f"{len(found.suppressed):,} suppressed",
            duration(sheet.seconds),
        ],
        sheet.width,
    )
    if len(found.outcome.curve) > 1:
        drawn = curve([step.loss for step in found.outcome.curve], max(8, min(60, sheet.width - 14)))
        yield facts([f"loss by step {drawn}"], sheet.width)
    yield losses(found, sheet)
    if found.recruited:
        strongest = found.recruited[0]
        layers = len({neuron.layer for neuron in found.recruited})
        yield facts(
            [
                f"{len(found.recruited):,} recruits in {parts.counted(layers, 'layer')}",
                f"the strongest {strongest} ({signed(strongest.attribution)})",
            ],
            sheet.width,
        )
    yield facts([inline(value.path)], sheet.width)


def _trained(found: Round) -> str:
    """What was trained."""
    if found.plan.neurons:
        return f"{parts.counted(len(found.plan.neurons), 'neuron')} alone"
    return f"rank {found.plan.rank} on {inline(', '.join(found.plan.modules))}"


def losses(found: Round, sheet: parts.Sheet) -> RenderableType:
    """Losses by sample, before and after, and beside them those of the control."""
    control = found.control
    headings = [">before", ">after", ">learned", *([">control after", ">learned"] if control is not None else [])]
    table = parts.table(sheet, "loss in nats a token", *headings)
    rows = list(enumerate(found.samples))
    for number, name in rows:
        table.add_row(parts.cell(fitted(inline(name), 24)), *_numbers(found.outcome, control, number))
    if len(rows) > 1:
        table.add_row("mean", *_numbers(found.outcome, control, None))
    return table


def _numbers(outcome: Outcome, control: Outcome | None, number: int | None) -> Iterator[str]:
    before, after = _at(outcome.initial, number), _at(outcome.final, number)
    yield from (f"{before:.3f}", f"{after:.3f}", signed(before - after))
    if control is not None:
        other = _at(control.final, number)
        yield from (f"{other:.3f}", signed(_at(control.initial, number) - other))


def _at(values: tuple[float, ...], number: int | None) -> float:
    return sum(values) / len(values) if number is None else values[number]


@shown.register
def _(value: results.RoundsShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    table = parts.table(
        sheet, "round", ">held", ">before", ">after", ">Δ", ">control", ">kept", "strongest", ">share", ">again"
    )
    for each in value.trajectory.passages:
        table.add_row(
            parts.cell(fitted(inline(each.name), 12)),
            f"{each.suppressed:,}",
            f"{each.initial:.2f}",
            f"{each.final:.2f}" + ("!" if each.stopped else ""),
            signed(each.final - each.initial, 2),
            MISSING if each.control is None else f"{each.control:.2f}",
            MISSING if each.kept is None else f"{each.kept:.2f}",
            str(each.strongest or MISSING),
            percent(each.share),
            f"{each.again}/{each.recruits}",
        )
    yield table
    for found in value.trajectory.passages:
        if found.layers:
            yield facts([f"{inline(found.name)} recruited in layers {_ranges(found.layers)}"], sheet.width)
    if _alike(value.rounds):
        yield Line("")
        yield _by_sample(value.rounds, sheet)
    verdict = value.trajectory.verdict or "no verdict"
    yield Line("")
    yield Line.assemble((verdict, "bold"), f": {inline(value.trajectory.because)}", overflow="fold")
    if value.chart:
        yield facts([f"chart in {inline(value.chart)}"], sheet.width)


#: Samples and rounds that a table by sample has at most.
_SAMPLES, _ROUNDS = 12, 7


def _alike(rounds: tuple[Round, ...]) -> bool:
    """Whether they were of the same few samples."""
    few = 1 < len(rounds) <= _ROUNDS and len(rounds[0].samples) <= _SAMPLES
    return few and all(found.samples == rounds[0].samples for found in rounds)


def _by_sample(rounds: tuple[Round, ...], sheet: parts.Sheet) -> RenderableType:
    """The loss of each sample, before the first round and after each."""
    room = max(6, (sheet.width - 26) // len(rounds) - 2)
    table = parts.table(sheet, "loss", ">before", *(f">{fitted(inline(found.name), room)}" for found in rounds))
    for number, name in enumerate(rounds[0].samples):
        after = (f"{found.outcome.final[number]:.2f}" for found in rounds)
        table.add_row(parts.cell(fitted(inline(name), 16)), f"{rounds[0].outcome.initial[number]:.2f}", *after)
    return table


def _ranges(numbers: tuple[int, ...]) -> str:
    """Rising numbers, those that follow each other as a range: `3, 9–12`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(f"{each[0]}" if len(each) == 1 else f"{each[0]}–{each[-1]}" for each in found)


@shown.register
def _(value: results.RecruitsShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    table = parts.table(sheet, "neuron", ">absorbed", ">share", "pushes up", "pushes down", "recruited before")
    room = max(8, (sheet.width - 52) // 2)
    for row in value.rows:
        pushes = (parts.cell(fitted(" ".join(map(quoted, each)) or MISSING, room)) for each in (row.up, row.down))
        before = inline(row.before) if row.before else MISSING
        share = percent(row.share)
        table.add_row(str(row.neuron), f"{row.neuron.attribution or 0:.4g}", share, *pushes, parts.cell(before))
    if value.rows:
        yield table
    together = sum(row.share for row in value.rows)
    yield facts(
        [
            f"{len(value.rows):,} recruits of {inline(value.name)}",
            f"by {value.measure}",
            f"{percent(together)} of all that was absorbed",
            f"{value.suppressed:,} were suppressed",
        ],
        sheet.width,
    )
