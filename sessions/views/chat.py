"""A conversation: `say`, `history`, `forget`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.views.blocks import AnyBlock, ArmText, Column, Note, Row, Table, Texts
from sessions.views.interventions import ending, held_back, in_force
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted

_SPEAKERS = {"user": "you", "assistant": "model"}


@viewed.register
def _(value: results.Said) -> Iterator[AnyBlock]:
    arm = value.arm
    under = f"under {value.under}" if value.under else ""
    said = (f"exchange {value.exchanges:,}", counted(len(arm.ids), "token"), ending(arm), under, *in_force(arm))
    # Where no marker separated thought and answer while they were streamed, both are shown again.
    streamed = arm.text if value.closing in arm.text else ""
    reply = ArmText(
        facts=tuple(filter(None, (*said, held_back(arm)))), text=value.answer, thought=value.thought, streamed=streamed
    )
    yield Texts(arms=(reply,), timed=True)
    if value.baseline:
        yield Note(text="without the live interventions:")
        yield Texts(arms=(ArmText(facts=(), text=value.baseline),))


@viewed.register
def _(value: results.HistoryShown) -> Iterator[AnyBlock]:
    rows = [("system", value.system)] if value.system is not None else []
    for turn in value.turns:
        rows += [("thought", turn.thought)] if turn.thought else []
        rows += [(_SPEAKERS.get(turn.role) or turn.role, turn.text or "(empty)")]
        rows += [("under", turn.under)] if turn.under else []
    if rows:
        columns = (Column(key="speaker", title="", kind="name"), Column(key="text", title="", folds=True, drop=1))
        yield Table(columns=columns, rows=tuple(Row(cells=row) for row in rows))
    yield facts(*_summary(value))


def _summary(value: results.HistoryShown) -> Iterator[str]:
    shown = len(value.turns) // 2
    if not value.exchanges:
        yield "nothing was said yet"
    elif shown < value.exchanges:
        yield f"the last {f'{shown:,} ' if shown > 1 else ''}of {counted(value.exchanges, 'exchange')}"
    else:
        yield counted(value.exchanges, "exchange")
    if value.thinking is not None:
        yield f"thinking {'on' if value.thinking else 'off'}"


@viewed.register
def _(value: results.Forgotten) -> Iterator[AnyBlock]:
    if value.exchanges:
        yield facts(f"forgotten: {counted(value.exchanges, 'exchange')}", f"{value.left:,} left")
    else:
        yield Note(text="nothing was said yet")
