"""Rounds of training: `train-round`, `rounds`, `crab`, `compare round:A round:B`, `recruits`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sessions import results
from sessions.model.units import kind_in
from sessions.training.comparing import LossRow, RoundComparison, ShareRow
from sessions.training.findings import Outcome, Round, by_layer, mean, shares
from sessions.training.trajectory import Passage
from sessions.views.blocks import AnyBlock, Cell, Column, Curve, Line, Note, Row, StandsFor, Table
from sessions.views.circuits import stands_for
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted, curve, percent, signed

#: Most samples and rounds of a table by sample, most epochs, and most layers with a row of their own.
_SAMPLES, _ROUNDS, _EPOCHS, _LAYERS = 12, 7, 12, 12
#: How many shared recruits are named.
_NAMED = 30
#: Width of a curve over layers, in characters.
_CURVE = 40


@viewed.register
def _(value: results.RoundTrained) -> Iterator[AnyBlock]:
    found = value.round
    yield facts(
        f"trained {found.name}",
        counted(len(found.samples), "sample"),
        counted(len(found.outcome.curve), "step"),
        _trained(found),
        f"{len(found.suppressed):,} suppressed",
        timed=True,
    )
    if len(found.outcome.curve) > 1:
        points = tuple((float(number), step.loss) for number, step in enumerate(found.outcome.curve, 1))
        yield Curve(title="loss by step", x="step", lines=(Line(name="loss", points=points),))
    if found.outcome.weighs:
        yield _losses(found, "weighted, nats a token", _weighted)
        yield _losses(found, "plain, all tokens alike", _plain)
    else:
        yield _losses(found, "loss in nats a token", _weighted)
    yield from _epochs(found)
    yield from _gradient(found)
    if found.recruited:
        strongest = found.recruited[0]
        layers = len({neuron.layer for neuron in found.recruited})
        recruits = f"{len(found.recruited):,} recruits in {counted(layers, 'layer')}"
        yield facts(recruits, f"the strongest {strongest} ({signed(strongest.attribution)})")
    yield facts(value.path)


@viewed.register
def _(value: results.TrainingSoFar) -> Iterator[AnyBlock]:
    done = f"step {len(value.losses):,} of {value.steps:,}"
    yield facts(done, f"loss {value.losses[-1]:.3f}" if value.losses else "")
    points = tuple((float(number), loss) for number, loss in enumerate(value.losses, 1))
    yield Curve(title="loss by step", x="step", lines=(Line(name="loss", points=points),))


def _trained(found: Round) -> str:
    """What was trained."""
    if found.plan.neurons:
        return f"{counted(len(found.plan.neurons), 'neuron')} alone"
    return f"rank {found.plan.rank} on {', '.join(found.plan.modules)}"


#: A function from an outcome to its losses before and after.
_Ends = Callable[[Outcome], tuple[Sequence[float], Sequence[float]]]


def _weighted(outcome: Outcome) -> tuple[Sequence[float], Sequence[float]]:
    return outcome.initial, outcome.final


def _plain(outcome: Outcome) -> tuple[Sequence[float], Sequence[float]]:
    return outcome.plain_initial, outcome.plain_final


_SAMPLE = Column(key="sample", title="sample", kind="name")


def _loss(key: str, title: str, drop: int, digits: int = 3) -> Column:
    return Column(key=key, title=title, kind="number", digits=digits, drop=drop)


def _losses(found: Round, title: str, ends: _Ends) -> Table:
    """Losses by sample before and after, beside those of the control."""
    columns = [_SAMPLE, _loss("before", "before", 4), _loss("after", "after", 5)]
    columns.append(Column(key="learned", title="learned", kind="signed", drop=3))
    if found.control is not None:
        columns += [_loss("control_after", "control after", 2)]
        columns += [Column(key="control_learned", title="learned", kind="signed", drop=1)]
    pairs = [ends(outcome) for outcome in (found.outcome, found.control) if outcome is not None]
    rows = [
        Row(cells=(name, *_learned([(_at(before, number), _at(after, number)) for before, after in pairs])))
        for number, name in enumerate(found.samples)
    ]
    if len(found.samples) > 1:
        rows.append(Row(cells=("mean", *_learned([(mean(before), mean(after)) for before, after in pairs]))))
    return Table(title=title, columns=tuple(columns), rows=tuple(rows))


def _learned(pairs: Sequence[tuple[float | None, float | None]]) -> Iterator[Cell]:
    """Before, after and the difference; of a control only the last two."""
    for number, (before, after) in enumerate(pairs):
        learned = None if before is None or after is None else before - after
        yield from (*([before] if number == 0 else []), after, learned)


def _at(values: Sequence[float], number: int) -> float | None:
    return values[number] if values else None


def _epochs(found: Round) -> Iterator[Table]:
    """The losses of each epoch by sample; of many epochs, the first and the last."""
    epochs = list(enumerate(found.outcome.epochs, 1))
    if len(epochs) < 2:
        return
    half = _EPOCHS // 2
    kept = epochs if len(epochs) <= _EPOCHS else [*epochs[:half], *epochs[-half:]]
    # Where room is short, the middle epochs are dropped first.
    middle_out = sorted(range(len(kept)), key=lambda at: min(at, len(kept) - 1 - at), reverse=True)
    columns = [_loss(f"epoch_{number}", f"{number}", 1 + middle_out.index(at)) for at, (number, _) in enumerate(kept)]
    rows = []
    if 1 < len(found.samples) <= _SAMPLES:
        rows = [
            Row(cells=(name, *(epoch.losses[number] for _, epoch in kept))) for number, name in enumerate(found.samples)
        ]
    rows.append(Row(cells=("mean", *(epoch.loss for _, epoch in kept))))
    if found.outcome.weighs:
        rows.append(Row(cells=("mean, plain", *(epoch.plain_loss for _, epoch in kept))))
    yield Table(title="loss in epoch", columns=(_SAMPLE, *columns), rows=tuple(rows))


def _gradient(found: Round) -> Iterator[Table]:
    """The share of the gradient that each kind of projection received, and in which layers."""
    flows = shares(found.outcome.gradient)
    if not flows:
        return
    columns = (
        Column(key="projection", title="gradient", kind="name"),
        Column(key="share", title="share", kind="share", drop=3),
        Column(key="layer", title="most in layer", kind="index", drop=2),
        Column(key="by_layer", title="by layer", drop=1),
    )
    rows = []
    for kind, row in [*flows.items(), *([("all", by_layer(flows))] if len(flows) > 1 else [])]:
        most = max(range(len(row)), key=row.__getitem__)
        rows.append(Row(cells=(kind, sum(row), most, curve(row, _CURVE))))
    yield Table(columns=columns, rows=tuple(rows))


@viewed.register
def _(value: results.RoundsShown) -> Iterator[AnyBlock]:
    passages = value.trajectory.passages
    yield _passages(passages)
    if len(passages) > 1:
        yield _trajectory(passages)
    for found in passages:
        if found.layers:
            yield facts(f"{found.name} recruited in layers {_ranges(found.layers)}")
    plain = [each for each in passages if each.plain_final is not None]
    if any(found.outcome.weighs for found in value.rounds) and plain:
        yield _plain_losses(plain)
    if len(value.rounds) == 1:
        yield from _epochs(value.rounds[0])
        yield from _gradient(value.rounds[0])
    elif len(value.rounds) <= _ROUNDS:
        yield from _gradients(value.rounds)
    if _alike(value.rounds):
        yield _by_sample(value.rounds)
    yield Note(verdict=value.trajectory.verdict or "no verdict", text=value.trajectory.because)
    if value.chart:
        yield facts(f"chart in {value.chart}")


_ROUND = Column(key="round", title="round", kind="name")


def _passages(passages: Sequence[Passage]) -> Table:
    """A row for each round. One that ended early is marked `!`."""
    columns = (
        _ROUND,
        Column(key="suppressed", title="held", kind="number", drop=4),
        _loss("before", "before", 8, 2),
        _loss("after", "after", 9, 2),
        Column(key="change", title="Δ", kind="signed", digits=2, drop=7),
        _loss("control", "control", 6, 2),
        _loss("kept", "kept", 10, 2),
        Column(key="strongest", title="strongest", kind="name", drop=3),
        Column(key="share", title="share", kind="share", drop=5),
        Column(key="again", title="again", kind="number", drop=2),
        Column(key="recruits", title="of", kind="number", drop=1),
    )
    rows = []
    for each in passages:
        strongest = None if each.strongest is None else str(each.strongest)
        cells = (each.name, each.suppressed, each.initial, each.final, each.final - each.initial, each.control)
        cells += (each.kept, strongest, each.share, each.again, each.recruits)  # type: ignore[assignment]
        mark = "!" if each.stopped else ""
        rows.append(Row(cells=cells, stands_for=StandsFor("round", each.name), mark=mark))
    return Table(columns=columns, rows=tuple(rows))


def _trajectory(passages: Sequence[Passage]) -> Curve:
    """The losses of the rounds as a picture, by their place in the series."""
    losses: dict[str, list[float | None]] = {
        "before": [each.initial for each in passages],
        "after": [each.final for each in passages],
        "control": [each.control for each in passages],
    }
    lines = tuple(
        Line(name=name, points=tuple((float(number), loss) for number, loss in enumerate(found, 1)))
        for name, found in losses.items()
        if any(loss is not None for loss in found)
    )
    return Curve(title="loss in nats a token", x="round", lines=lines, tabled=True)


def _alike(rounds: tuple[Round, ...]) -> bool:
    """Whether all rounds have the same few samples."""
    few = 1 < len(rounds) <= _ROUNDS and len(rounds[0].samples) <= _SAMPLES
    return few and all(found.samples == rounds[0].samples for found in rounds)


def _columns_of(rounds: Sequence[Round], kind: str) -> list[Column]:
    """A column for each round. Where room is short, the middle of the series is dropped first."""
    last = len(rounds)
    share = kind == "share"
    return [
        Column(
            key=f"round_{number}", title=found.name, kind="share" if share else "number", digits=None if share else 2,
            drop=2 * last if number == last else number,
        )
        for number, found in enumerate(rounds, 1)
    ]  # fmt: skip


def _by_sample(rounds: Sequence[Round]) -> Table:
    """The loss of each sample before the first round and after each round."""
    columns = (_SAMPLE, _loss("before", "before", 3 * len(rounds), 2), *_columns_of(rounds, "number"))
    rows = []
    for number, name in enumerate(rounds[0].samples):
        after = (found.outcome.final[number] for found in rounds)
        rows.append(Row(cells=(name, rounds[0].outcome.initial[number], *after)))
    return Table(title="loss by sample", columns=columns, rows=tuple(rows))


def _plain_losses(passages: Sequence[Passage]) -> Table:
    """The mean losses with equal weight on all tokens of a reply."""
    columns = (
        _ROUND,
        _loss("before", "before", 3, 2),
        _loss("after", "after", 4, 2),
        Column(key="change", title="Δ", kind="signed", digits=2, drop=2),
        _loss("control", "control", 1, 2),
    )
    rows = []
    for each in passages:
        before, after = each.plain_initial, each.plain_final
        change = None if after is None or before is None else after - before
        cells = (each.name, before, after, change, each.plain_control)
        rows.append(Row(cells=cells, stands_for=StandsFor("round", each.name)))
    return Table(title="plain, all tokens alike", columns=columns, rows=tuple(rows))


def _gradients(rounds: Sequence[Round]) -> Iterator[Table]:
    """The gradient share of each kind of projection, with a column for each round."""
    flows = [shares(found.outcome.gradient) for found in rounds]
    if not any(flows):
        return
    columns = (Column(key="projection", title="projection", kind="name"), *_columns_of(rounds, "share"))
    kinds = dict.fromkeys(kind for each in flows for kind in each)
    rows = tuple(Row(cells=(kind, *(sum(each[kind]) if kind in each else None for each in flows))) for kind in kinds)
    yield Table(title="share of gradient", columns=columns, rows=rows)


@viewed.register
def _(value: results.RoundsCompared) -> Iterator[AnyBlock]:
    found = value.comparison
    yield _losses_of_both(found, value.names)
    if found.modules:
        yield _share_rows("share of gradient", found.modules, value.names)
    if found.layers:
        most = sorted(found.layers, key=lambda row: -max(share or 0.0 for share in row.shares))[:_LAYERS]
        listed = [row for row in found.layers if row in most]
        title = "in layer" if len(listed) == len(found.layers) else f"in layer ({len(listed)} of {len(found.layers)})"
        yield _share_rows(title, listed, value.names)
    count, (mine, theirs) = len(found.shared), found.recruits
    yield facts(
        "" if found.cosine is None else f"cosine of their gradient shares {signed(found.cosine, 2)}",
        f"recruits shared: {count:,} of {mine:,} and {theirs:,}",
        f"Jaccard {found.jaccard:.2f}",
        "" if found.by_chance is None else f"{found.by_chance:.2g} by chance",
        f"suppressed: {found.suppressed[0]:,} and {found.suppressed[1]:,}",
    )
    if found.shared:
        more = f", and {count - _NAMED:,} more" if count > _NAMED else ""
        yield Note(text=f"shared: {', '.join(map(str, found.shared[:_NAMED]))}{more}")


def _losses_of_both(found: RoundComparison, names: tuple[str, str]) -> Table:
    columns = [
        _loss(f"{word}_{number}", f"{name} {word}", 2 if word == "after" else 1)
        for word in ("before", "after")
        for number, name in enumerate(names, 1)
    ]
    kept = found.losses if len(found.losses) <= _SAMPLES + 1 else found.losses[-1:]
    rows = [Row(cells=(row.sample, *row.before, *row.after)) for row in kept]
    last = found.losses[-1]
    if _differs(last):
        rows.append(Row(cells=("mean, plain", *last.plain_before, *last.plain_after)))
    if any(each is not None for each in last.control):
        rows.append(Row(cells=("control, mean", None, None, *last.control)))
        if _differs(last):
            rows.append(Row(cells=("control, mean, plain", None, None, *last.plain_control)))
    return Table(title="loss", columns=(_SAMPLE, *columns), rows=tuple(rows))


def _differs(row: LossRow) -> bool:
    """Whether the plain losses differ from the weighted ones in one of the rounds."""
    pairs = zip(row.after, row.plain_after, strict=True)
    return any(one is not None and two is not None and abs(one - two) > 1e-4 * (1 + abs(two)) for one, two in pairs)


def _share_rows(title: str, rows: Sequence[ShareRow], names: tuple[str, str]) -> Table:
    columns = (
        Column(key="place", title="place", kind="name"),
        *(Column(key=f"share_{number}", title=name, kind="share", drop=2) for number, name in enumerate(names, 1)),
        Column(key="change", title="change", kind="signed share", drop=1),
    )
    listed = []
    for row in rows:
        one, two = row.shares
        listed.append(Row(cells=(row.place, one, two, None if one is None or two is None else two - one)))
    return Table(title=title, columns=columns, rows=tuple(listed))


def _ranges(numbers: tuple[int, ...]) -> str:
    """Rising numbers, with consecutive ones as a range: `3, 9–12`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(f"{each[0]}" if len(each) == 1 else f"{each[0]}–{each[-1]}" for each in found)


@viewed.register
def _(value: results.RecruitsShown) -> Iterator[AnyBlock]:
    columns = (
        Column(key="neuron", title=kind_in(row.neuron for row in value.rows), kind="name"),
        Column(key="absorbed", title="absorbed", kind="number", drop=5),
        Column(key="share", title="share", kind="share", drop=4),
        Column(key="up", title="pushes up", kind="token", drop=3),
        Column(key="down", title="pushes down", kind="token", drop=1),
        Column(key="before", title="recruited before", kind="name", drop=2),
    )
    rows = []
    for row in value.rows:
        cells = (str(row.neuron), row.neuron.attribution or 0.0, row.share, row.up, row.down, row.before or None)
        rows.append(Row(cells=cells, stands_for=stands_for(row.neuron)))
    if value.rows:
        yield Table(columns=columns, rows=tuple(rows))
    together = sum(row.share for row in value.rows)
    yield facts(
        f"{len(value.rows):,} recruits of {value.name}",
        f"by {value.measure}",
        f"{percent(together)} of the total",
        f"{value.suppressed:,} units were suppressed",
    )
