"""A conversation: the results of `say`, `history`, `forget`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.model.info import Turn
from sessions.views.interventions import ending, held_back, in_force
from sessions.views.writing import counted
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import duration, facts, inline, plain

_SPEAKERS = {"user": "you", "assistant": "model"}


@shown.register
def _(value: results.Said, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if not _seen(value, sheet):
        if value.thought:
            yield _thought(value.thought)
            yield Line()
        yield parts.text(value.answer)
    if value.baseline:
        yield parts.dim(Line("without what is live:"))
        yield parts.text(value.baseline)
    yield parts.dim(facts([*_facts(value), duration(sheet.seconds)], sheet.width))


@shown.register
def _(value: results.HistoryShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if value.system is not None or value.turns:
        yield _turns(value)
    yield parts.dim(facts(_summary(value), sheet.width))


@shown.register
def _(value: results.Forgotten, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if not value.exchanges:
        yield Line("nothing was said yet")
    else:
        yield facts([f"forgotten: {counted(value.exchanges, 'exchange')}", f"{value.left:,} left"], sheet.width)


def _facts(value: results.Said) -> Iterator[str]:
    arm = value.arm
    yield f"exchange {value.exchanges:,}"
    yield f"{len(arm.ids):,} tokens"
    yield inline(ending(arm))
    if value.under:
        yield f"under {inline(value.under)}"
    yield from map(inline, in_force(arm))
    yield inline(held_back(arm))


def _seen(value: results.Said, sheet: parts.Sheet) -> bool:
    """Whether the reply stands above already, with its thought set apart in it."""
    return bool(value.arm.text) and sheet.streamed == value.arm.text and value.closing in sheet.streamed


def _turns(value: results.HistoryShown) -> Table:
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    if value.system is not None:
        grid.add_row("system", parts.text(value.system))
    for turn in value.turns:
        if turn.thought:
            grid.add_row("thought", _thought(turn.thought))
        grid.add_row(_speaker(turn), parts.text(turn.text))
        if turn.under:
            grid.add_row("", Line(f"under {plain(turn.under)}", style="dim", overflow="fold"))
    return grid


def _speaker(turn: Turn) -> str:
    return _SPEAKERS.get(turn.role) or inline(turn.role)


def _thought(text: str) -> Line:
    return Line(plain(text), style="dim", overflow="fold")


def _summary(value: results.HistoryShown) -> Iterator[str]:
    shown = len(value.turns) // 2
    if not value.exchanges:
        yield "nothing was said yet"
    elif shown < value.exchanges:
        yield f"the last {f'{shown:,} ' if shown > 1 else ''}of {value.exchanges:,} exchanges"
    else:
        yield counted(value.exchanges, "exchange")
    if value.thinking is not None:
        yield f"thinking {'on' if value.thinking else 'off'}"
