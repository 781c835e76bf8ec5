"""Tasks that were answered under several arms: the result of `evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.evaluation.pairing import Pairs
from sessions.evaluation.scores import Score
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, facts, fitted, inline, percent

#: Cells that the name of an arm has, tasks that are named, and p-values from which on they are powers of ten.
_NAME, _NAMED, _SMALL = 16, 8, 0.0005


#: What the short headings of a narrow table stand for.
_LEGEND = ("at: token of the answer", "lang: in the task's language", "rep: repeated trigrams")


@shown.register
def _(value: results.Evaluated, sheet: parts.Sheet) -> Iterator[RenderableType]:
    tasks = parts.counted(value.tasks, "task")
    text = f"perplexity over {value.unrelated:,} tokens of unrelated text" if value.unrelated else ""
    yield facts(
        [f"{tasks} of {inline(value.path)}", f"at most {parts.counted(value.max_tokens, 'token')} a reply", text],
        sheet.width,
    )
    yield _arms(value, sheet)
    if sheet.width < parts.WIDE:
        yield parts.dim(facts(_LEGEND, sheet.width))
    if value.languages:
        yield Line("")
        yield _languages(value, sheet)
    if value.pairs:
        yield Line("")
        yield _pairs(value.pairs, sheet)
        for pairs in value.pairs:
            yield from _changed(pairs, sheet)
    yield facts([f"texts in {inline(value.kept)}"], sheet.width)


def _arms(value: results.Evaluated, sheet: parts.Sheet) -> Table:
    """A row an arm: how much was right, and what the replies are like."""
    wide = sheet.width >= parts.WIDE
    compared = len(value.scores) > 1
    read = [">perplexity" if wide else ">ppl", *([">ratio"] if compared else [])] if value.unrelated else []
    width = [">cut", ">tasks/s"] if wide else []
    language = ">in language" if wide else ">lang"
    table = parts.table(
        sheet, "arm", ">right", ">", ">95 %", ">answer at" if wide else ">at", language, ">tokens",
        ">repeats" if wide else ">rep", *read, *width,
    )  # fmt: skip
    for score in value.scores:
        table.add_row(
            parts.cell(_name(score)),
            f"{score.right:,}/{score.tasks:,}",
            _share(score.accuracy),
            _interval(score.interval),
            MISSING if score.at is None else f"{score.at:g}",
            _share(score.kept / score.judged) if score.judged else MISSING,
            f"{score.tokens:.1f}",
            MISSING if score.repetition is None else _share(score.repetition),
            *([_large(score.perplexity), *([_ratio(score)] if compared else [])] if value.unrelated else []),
            *([_share(score.cut / score.tasks), f"{score.pace:.1f}"] if wide else []),
        )
    return table


def _languages(value: results.Evaluated, sheet: parts.Sheet) -> Table:
    """A row a language: the share of its tasks that each arm got right."""
    table = parts.table(sheet, "language", ">tasks", *(f">{_cut(score.name, 12)}" for score in value.scores[:5]))
    for row in value.languages:
        shares = (_share(right / row.tasks) for right in row.right[:5])
        table.add_row(parts.cell(inline(row.language) or "none"), f"{row.tasks:,}", *shares)
    return table


def _pairs(pairs: Sequence[Pairs], sheet: parts.Sheet) -> Table:
    """A row an arm that is held against the first one."""
    first = _cut(pairs[0].names[0], 12)
    table = parts.table(
        sheet, f"against {first}", ">both right", ">lost", ">gained", ">both wrong", ">change", ">95 %", ">p"
    )
    for each in pairs:
        table.add_row(
            parts.cell(_cut(each.names[1], _NAME)),
            *(f"{count:,}" for count in (each.both, each.only_first, each.only_second, each.neither)),
            percent(each.difference, sign=True),
            _interval(each.interval, sign=True),
            f"{each.p:.3f}" if each.p >= _SMALL else f"{each.p:.0e}",
        )
    return table


def _changed(pairs: Pairs, sheet: parts.Sheet) -> Iterator[RenderableType]:
    """The tasks that only one of two arms got right, by name."""
    for word, names in (("lost", pairs.lost), ("gained", pairs.gained)):
        if names:
            more = f", and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            listed = ", ".join(_cut(name, 24) for name in names[:_NAMED])
            said = f"{_cut(pairs.names[1], _NAME)} {word} {listed}{more}"
            yield parts.dim(Line(fitted(said, 3 * sheet.width), overflow="fold"))


def _name(score: Score) -> str:
    name = _cut(score.name, _NAME - 2)
    return f"✗ {name}" if score.broken else name


def _cut(text: str, width: int) -> str:
    return fitted(inline(text), width)


def _share(share: float) -> str:
    return f"{share:.0%}"


def _interval(limits: tuple[float, float], sign: bool = False) -> str:
    low, high = (100 * limit for limit in limits)
    return f"{low:+.0f}…{high:+.0f}" if sign else f"{low:.0f}…{high:.0f}"


def _large(number: float | None) -> str:
    if number is None:
        return MISSING
    return f"{number:,.1f}" if number < 1e4 else f"{number:.0e}"


def _ratio(score: Score) -> str:
    if score.ratio is None:
        return MISSING
    return f"×{score.ratio:.3f}" if score.ratio < 10 else f"×{_large(score.ratio)}"
