"""Rounds of training: the results of `train-round`, `rounds` and `recruits`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.training.comparing import LossRow, RoundComparison, ShareRow
from sessions.training.findings import Outcome, Round, by_layer, mean, shares
from sessions.training.trajectory import Passage
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
    yield from losses(found, sheet)
    yield from _epochs(found, sheet)
    yield from _gradient(found, sheet)
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


def losses(found: Round, sheet: parts.Sheet) -> Iterator[RenderableType]:
    """Losses by sample, before and after, and beside them those of the control; the plain ones where they differ."""
    if not found.outcome.weighs:
        yield _losses(found, "loss in nats a token", sheet, _weighted)
        return
    yield _losses(found, "weighted, nats a token", sheet, _weighted)
    yield _losses(found, "plain, all tokens alike", sheet, _plain)


#: The losses of an outcome before and after.
_Ends = Callable[[Outcome], tuple[Sequence[float], Sequence[float]]]


def _weighted(outcome: Outcome) -> tuple[Sequence[float], Sequence[float]]:
    return outcome.initial, outcome.final


def _plain(outcome: Outcome) -> tuple[Sequence[float], Sequence[float]]:
    return outcome.plain_initial, outcome.plain_final


def _losses(found: Round, heading: str, sheet: parts.Sheet, ends: _Ends) -> RenderableType:
    outcomes = [found.outcome, *([found.control] if found.control is not None else [])]
    headings = [">before", ">after", ">learned", *([">control after", ">learned"] if len(outcomes) > 1 else [])]
    table = parts.table(sheet, heading, *headings)
    pairs = [ends(outcome) for outcome in outcomes]
    for number, name in enumerate(found.samples):
        rows = [(_at(before, number), _at(after, number)) for before, after in pairs]
        table.add_row(parts.cell(fitted(inline(name), 24)), *_numbers(rows))
    if len(found.samples) > 1:
        table.add_row("mean", *_numbers([(mean(before), mean(after)) for before, after in pairs]))
    return table


def _numbers(pairs: Sequence[tuple[float | None, float | None]]) -> Iterator[str]:
    """Before, after and what was learned; of a control only the last two."""
    for number, (before, after) in enumerate(pairs):
        learned = None if before is None or after is None else before - after
        yield from (*([_loss(before)] if number == 0 else []), _loss(after), signed(learned))


def _at(values: Sequence[float], number: int) -> float | None:
    return values[number] if values else None


def _loss(value: float | None, digits: int = 3) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _epochs(found: Round, sheet: parts.Sheet) -> Iterator[RenderableType]:
    """The losses that each epoch met, by sample: the first and the last epochs, where there is no room for all."""
    epochs = list(enumerate(found.outcome.epochs, 1))
    if len(epochs) < 2:
        return
    room = max(2, (sheet.width - 26) // 8)
    kept = epochs if len(epochs) <= room else [*epochs[: room // 2], *epochs[room // 2 - room :]]
    yield Line("")
    table = parts.table(sheet, "loss in epoch", *(f">{number}" for number, _ in kept))
    if 1 < len(found.samples) <= _SAMPLES:
        for number, name in enumerate(found.samples):
            row = (_loss(epoch.losses[number]) for _, epoch in kept)
            table.add_row(parts.cell(fitted(inline(name), 24)), *row)
    table.add_row("mean", *(_loss(epoch.loss) for _, epoch in kept))
    if found.outcome.weighs:
        table.add_row("mean, plain", *(_loss(epoch.plain_loss) for _, epoch in kept))
    yield table


def _gradient(found: Round, sheet: parts.Sheet) -> Iterator[RenderableType]:
    """The share of the gradient that each kind of projection had, and in which layers."""
    flows = shares(found.outcome.gradient)
    if not flows:
        return
    yield Line("")
    table = parts.table(sheet, "gradient", ">share", ">most in layer", "by layer")
    room = max(8, min(60, sheet.width - 46))
    for kind, row in [*flows.items(), *([("all", by_layer(flows))] if len(flows) > 1 else [])]:
        most = max(range(len(row)), key=row.__getitem__)
        table.add_row(parts.cell(fitted(inline(kind), 20)), percent(sum(row)), f"{most}", curve(row, room))
    yield table


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
    plain = [each for each in value.trajectory.passages if each.plain_final is not None]
    if any(found.outcome.weighs for found in value.rounds) and plain:
        yield Line("")
        yield _plain_losses(plain, sheet)
    if len(value.rounds) == 1:
        yield from _epochs(value.rounds[0], sheet)
        yield from _gradient(value.rounds[0], sheet)
    elif len(value.rounds) <= _ROUNDS:
        yield from _gradients(value.rounds, sheet)
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


def _plain_losses(passages: Sequence[Passage], sheet: parts.Sheet) -> RenderableType:
    """The mean losses again, with all tokens of a reply alike."""
    table = parts.table(sheet, "plain, all tokens alike", ">before", ">after", ">Δ", ">control")
    for each in passages:
        change = (
            None if each.plain_final is None or each.plain_initial is None else each.plain_final - each.plain_initial
        )
        ends = _loss(each.plain_initial, 2), _loss(each.plain_final, 2), signed(change, 2), _loss(each.plain_control, 2)
        table.add_row(parts.cell(fitted(inline(each.name), 24)), *ends)
    return table


def _gradients(rounds: Sequence[Round], sheet: parts.Sheet) -> Iterator[RenderableType]:
    """The share of the gradient of each kind of projection, a column a round."""
    flows = [shares(found.outcome.gradient) for found in rounds]
    if not any(flows):
        return
    yield Line("")
    room = max(6, (sheet.width - 22) // len(rounds) - 2)
    table = parts.table(sheet, "share of gradient", *(f">{fitted(inline(found.name), room)}" for found in rounds))
    for kind in dict.fromkeys(kind for each in flows for kind in each):
        cells = (percent(sum(each[kind])) if kind in each else MISSING for each in flows)
        table.add_row(parts.cell(fitted(inline(kind), 20)), *cells)
    yield table


@shown.register
def _(value: results.RoundsCompared, sheet: parts.Sheet) -> Iterator[RenderableType]:
    found, names = value.comparison, [fitted(inline(name), 12) for name in value.names]
    yield _losses_of_both(found, names, sheet)
    yield from _shares_of_both(found, names, sheet)
    count, (mine, theirs) = len(found.shared), found.recruits
    chance = "" if found.by_chance is None else f"{found.by_chance:.2g} by chance"
    yield Line("")
    yield facts(
        [
            "" if found.cosine is None else f"their gradient is spread alike by {signed(found.cosine, 2)} (cosine)",
            f"recruits shared: {count:,} of {mine:,} and {theirs:,}",
            f"Jaccard {found.jaccard:.2f}",
            chance,
            f"suppressed: {found.suppressed[0]:,} and {found.suppressed[1]:,}",
        ],
        sheet.width,
    )
    if found.shared:
        more = f", and {count - _NAMED:,} more" if count > _NAMED else ""
        yield Line(f"shared: {', '.join(str(neuron) for neuron in found.shared[:_NAMED])}{more}", overflow="fold")


#: Shared recruits that are named, and layers that have a row of their own.
_NAMED, _LAYERS = 30, 12


def _losses_of_both(found: RoundComparison, names: Sequence[str], sheet: parts.Sheet) -> RenderableType:
    table = parts.table(sheet, "loss", *(f">{name} {word}" for word in ("before", "after") for name in names))
    rows = found.losses if len(found.losses) <= _SAMPLES + 1 else found.losses[-1:]
    for row in rows:
        _both_ends(table, row.sample, (*row.before, *row.after))
    mean_row = found.losses[-1]
    if _differs(mean_row):
        _both_ends(table, "mean, plain", (*mean_row.plain_before, *mean_row.plain_after))
    if any(each is not None for each in mean_row.control):
        _both_ends(table, "control, mean", (None, None, *mean_row.control))
        if _differs(mean_row):
            _both_ends(table, "control, mean, plain", (None, None, *mean_row.plain_control))
    return table


def _both_ends(table: Table, name: str, values: Sequence[float | None]) -> None:
    table.add_row(parts.cell(fitted(inline(name), 20)), *(_loss(each) for each in values))


def _differs(row: LossRow) -> bool:
    """Whether the plain losses are others than the weighted ones, in one of the rounds."""
    pairs = zip(row.after, row.plain_after, strict=True)
    return any(one is not None and two is not None and abs(one - two) > 1e-4 * (1 + abs(two)) for one, two in pairs)


def _shares_of_both(found: RoundComparison, names: Sequence[str], sheet: parts.Sheet) -> Iterator[RenderableType]:
    if found.modules:
        yield Line("")
        yield _share_rows("share of gradient", found.modules, names, sheet)
    if found.layers:
        yield Line("")
        most = sorted(found.layers, key=lambda row: -max(share or 0.0 for share in row.shares))[:_LAYERS]
        listed = [row for row in found.layers if row in most]
        heading = "in layer" if len(listed) == len(found.layers) else f"in layer ({len(listed)} of {len(found.layers)})"
        yield _share_rows(heading, listed, names, sheet)


def _share_rows(heading: str, rows: Sequence[ShareRow], names: Sequence[str], sheet: parts.Sheet) -> RenderableType:
    table = parts.table(sheet, heading, *(f">{name}" for name in names), ">change")
    for row in rows:
        one, two = row.shares
        change = None if one is None or two is None else two - one
        table.add_row(parts.cell(fitted(inline(row.place), 20)), percent(one), percent(two), percent(change, sign=True))
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
