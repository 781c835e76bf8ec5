"""Activations moved between two runs: `patch`, `trace`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import structs

from sessions import results
from sessions.lines import line_of
from sessions.patching.patches import PatchedCell, PatchMap
from sessions.results.patching import PatchProgress
from sessions.views.blocks import AnyBlock, Cell, Column, Fact, Facts, Heat, HeatScale, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import aim, chance, counted, inline, percent, quoted, signed

#: What moves, in words, from which prompt into which, and what its effect is called.
_DIRECTIONS = {
    "denoise": ("clean", "corrupt", "restored"),
    "noise": ("corrupt", "clean", "destroyed"),
}


@viewed.register
def _(value: results.Patched) -> Iterator[AnyBlock]:
    other, base, effect = _DIRECTIONS.get(value.direction, _DIRECTIONS["denoise"])
    yield facts(
        _so_far(value.so_far),
        f"{other} {value.site} into the {base} prompt{'s' * (value.pairs > 1)}",
        counted(value.pairs, "pair") if value.pairs > 1 else "",
        f"only by their paths to {inline(value.receiver)}" if value.receiver else "",
        counted(value.cells, "cell"),
    )
    yield facts(aim(value.target), f"clean {signed(value.clean)}", f"corrupt {signed(value.corrupt)}")
    if value.strongest:
        best = value.strongest[0]
        yield Facts(items=tuple(_best(best, value.together, effect)), conclusion=True)
    if value.map is not None:
        scale = HeatScale(start=0.0, end=1.0, names=(f"the {base} prompt", f"the {other} prompt"))
        yield from _heat(value.map, effect, scale if value.site.startswith("resid") else None)
    if value.strongest:
        formula = f"{effect} = (patched − {base}) / ({other} − {base}): 0 nothing, 1 everything"
        cells = value.strongest[: value.listed]
        share = Column(key="value", title=effect, kind="signed share", digits=1, bar=1.0, drop=5)
        things = [_stands_for(cell, value) for cell in cells]
        yield _table(cells, things, value.cells, share, formula, several=value.pairs > 1)


def _best(best: PatchedCell, together: float | None, effect: str) -> Iterator[Fact]:
    at = f" {quoted(best.token)}" if best.token else ""
    yield Fact(f"{best.unit}{at} {percent(best.value, sign=True)} {effect}")
    if together is not None:
        yield Fact(f"all together {percent(together, sign=True)}")


@viewed.register
def _(value: results.CausalTrace) -> Iterator[AnyBlock]:
    token = quoted(value.token.text)
    window = "" if value.window == 1 else f"windows of {value.window} layers"
    yield facts(
        _so_far(value.so_far),
        f"noise of {value.noise:g} standard deviations on {quoted(value.subject)}",
        f"{value.site} restored",
        window,
        counted(value.seeds, "draw"),
    )
    yield facts(f"p({token}) {chance(value.clean)}", f"with noise {chance(value.corrupt)}")
    if value.strongest:
        best = value.strongest[0]
        at = f" {quoted(best.token)}" if best.token else ""
        yield facts(f"{best.unit}{at} restores p to {chance(best.value)}", conclusion=True)
    scale = HeatScale(start=value.corrupt, end=value.clean, names=("noise alone", "no noise"))
    yield from _heat(value.map, f"probability of {token}", scale)
    if value.strongest:
        cells = value.strongest[: value.listed]
        p = Column(key="value", title="p", kind="number", digits=3, bar=max(value.clean, best.value), drop=5)
        note = f"p({token}) with the state restored and noise elsewhere, mean over {counted(value.seeds, 'draw')}"
        things = [_captured(cell, value.site) for cell in cells]
        yield _table(cells, things, len(value.strongest), p, note, several=value.seeds > 1)


def _so_far(progress: PatchProgress | None) -> str:
    return "" if progress is None else f"so far {progress.done:,} of {progress.of:,}"


def _heat(of: PatchMap, measured: str, scale: HeatScale | None) -> Iterator[Heat]:
    """Layers, the highest first, by positions or heads."""
    if not of.columns:
        return
    columns = tuple(f"H{column}" for column in of.columns)
    if of.tokens:
        columns = tuple(
            inline(token).strip() or str(position) for token, position in zip(of.tokens, of.columns, strict=True)
        )
    across = f"positions {of.columns[0]} to {of.columns[-1]}" if of.tokens else "heads"
    yield Heat(
        title=f"{measured}, by layer (rows) and {across}",
        rows=tuple(f"L{layer}" for layer in reversed(of.layers)),
        columns=columns,
        cells=tuple(reversed(of.cells)),
        scale=scale,
    )


def _table(
    cells: Sequence[PatchedCell],
    things: Sequence[StandsFor],
    of: int,
    value: Column,
    note: str,
    *,
    several: bool,
) -> Table:
    """The strongest cells, of so many, with their `value`; with an interval where there are several runs."""
    columns = [Column(key="cell", title="cell", kind="name")]
    rows: list[list[Cell]] = [[cell.unit] for cell in cells]
    if any(cell.position is not None for cell in cells):
        columns.append(Column(key="position", title="pos", kind="index", drop=4))
        columns.append(Column(key="token", title="token", kind="token", drop=3))
        for row, cell in zip(rows, cells, strict=True):
            row += [cell.position, cell.token or None]
    columns.append(value)
    for row, cell in zip(rows, cells, strict=True):
        row.append(cell.value)
    if several:
        columns += [structs.replace(value, key=end, title=end, bar=0.0, drop=2) for end in ("low", "high")]
        for row, cell in zip(rows, cells, strict=True):
            row += [cell.low, cell.high]
        note += "; low and high: 95% bootstrap interval"
    more = f"the {len(cells):,} strongest of {of:,}; " if of > len(cells) else ""
    made = (Row(cells=tuple(row), stands_for=thing) for row, thing in zip(rows, things, strict=True))
    return Table(columns=tuple(columns), rows=tuple(made), note=f"{more}{note}")


def _stands_for(cell: PatchedCell, value: results.Patched) -> StandsFor:
    """What verbs can do with a cell: a neuron, a head, a layer's neurons, or the line that looks closer."""
    if value.map is None or value.site == "heads":
        return StandsFor("head" if "/H" in cell.unit else "neuron", cell.unit)
    if value.site == "mlp_out":
        return StandsFor("neuron", f"L{cell.layer}/*")
    given = dict(value.given)
    if value.site == "resid_pre" and "--corrupt" in given:
        return _captured(cell)
    closer = "attn_out" if value.site == "resid_pre" else "heads"
    return StandsFor("line", line_of(["patch"], {**given, "--site": closer, "--layers": cell.layer}))


def _captured(cell: PatchedCell, site: str | None = None) -> StandsFor:
    """The line that saves the clean state of a cell."""
    options = {"--at": cell.position, "--layer": cell.layer, "--site": site}
    return StandsFor("line", line_of(["capture", "state"], options))
