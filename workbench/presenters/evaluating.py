"""Tasks that were answered under several arms: the result of `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.evaluation.pairing import Pairs
from sessions.evaluation.scores import ByLanguage, Score
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, facts, fitted, inline, percent

#: Cells that the name of an arm has, tasks that are named, and p-values from which on they are powers of ten.
_NAME, _NAMED, _SMALL = 34, 8, 0.0005
#: Arms that a table by language has at most.
_COLUMNS = 5


#: What the short headings of a narrow table stand for.
_LEGEND = ("at: word (token) of the answer", "lang: in the task's language", "rep: repeated trigrams")


@shown.register
def _(value: results.Evaluated, sheet: parts.Sheet) -> Iterator[RenderableType]:
    tasks = parts.counted(value.tasks, "task")
    text = f"perplexity over {value.unrelated:,} tokens of unrelated text" if value.unrelated else ""
    yield facts(
        [f"{tasks} of {inline(value.path)}", f"at most {parts.counted(value.max_tokens, 'token')} a reply", text],
        sheet.width,
    )
    yield _arms(value, sheet)
    if parts.width_of(_arms_with(value, sheet, wide=True, pace=False)) > sheet.width or sheet.width < parts.WIDE:
        yield parts.dim(facts(_LEGEND, sheet.width))
    if value.languages:
        for table in _languages(value, sheet):
            yield Line("")
            yield table
    if value.pairs:
        yield Line("")
        yield _pairs(value.pairs, sheet)
        for pairs in value.pairs:
            yield from _changed(pairs, sheet)
    yield facts([f"texts in {inline(value.kept)}"], sheet.width)


def _arms(value: results.Evaluated, sheet: parts.Sheet) -> Table:
    """A row an arm: how much was right, and what the replies are like. Names of arms are whole; where room is short,
    headings are, and then the last columns go."""
    wide = sheet.width >= parts.WIDE
    tables = (_arms_with(value, sheet, wide=long, pace=pace) for long, pace in ((wide, wide), (wide, False)))
    return next((table for table in tables if parts.width_of(table) <= sheet.width), None) or _arms_with(
        value, sheet, wide=False, pace=False
    )


def _arms_with(value: results.Evaluated, sheet: parts.Sheet, *, wide: bool, pace: bool) -> Table:
    compared = len(value.scores) > 1
    read = [">perplexity" if wide else ">ppl", *([">ratio"] if compared else [])] if value.unrelated else []
    language = ">in language" if wide else ">lang"
    table = parts.table(
        sheet, "!arm", ">right", ">", ">95 %", ">answer at word (token)" if wide else ">at", language, ">tokens",
        ">repeats" if wide else ">rep", *read, *([">cut", ">tasks/s"] if pace else []),
    )  # fmt: skip
    for score in value.scores:
        table.add_row(
            parts.cell(_name(score)),
            f"{score.right:,}/{score.tasks:,}",
            _share(score.accuracy),
            _interval(score.interval),
            _place(score.first_answer_words, score.at),
            _share(score.kept / score.judged) if score.judged else MISSING,
            f"{score.tokens:.1f}",
            MISSING if score.repetition is None else _share(score.repetition),
            *([_large(score.perplexity), *([_ratio(score)] if compared else [])] if value.unrelated else []),
            *([_share(score.cut / score.tasks), f"{score.pace:.1f}"] if pace else []),
        )
    return table


def _languages(value: results.Evaluated, sheet: parts.Sheet) -> Iterator[Table]:
    """A row a language and a column an arm: the share of its tasks that are right, where the answer stands in them, and
    the share of replies that stay in the language."""
    yield _by_language(value, sheet, "right, by language", lambda row, arm: _share(row.right[arm] / row.tasks))
    if any(place is not None for row in value.languages for place in row.at):
        yield _by_language(value, sheet, "answer at word (token)", _first_answer)
    if any(count for row in value.languages for count in row.judged):
        yield _by_language(value, sheet, "stays in language", _stayed)


def _by_language(
    value: results.Evaluated, sheet: parts.Sheet, heading: str, cell: Callable[[ByLanguage, int], str]
) -> Table:
    table = parts.table(sheet, heading, ">tasks", *(f">{_cut(score.name, 10)}" for score in value.scores[:_COLUMNS]))
    for row in value.languages:
        cells = (cell(row, arm) for arm in range(len(value.scores[:_COLUMNS])))
        table.add_row(parts.cell(inline(row.language) or "none"), f"{row.tasks:,}", *cells)
    return table


def _first_answer(row: ByLanguage, arm: int) -> str:
    return _place(row.first_answer_words[arm], row.at[arm]) if row.at else MISSING


def _stayed(row: ByLanguage, arm: int) -> str:
    return _share(row.kept[arm] / row.judged[arm]) if row.judged and row.judged[arm] else MISSING


def _place(word: float | None, token: float | None) -> str:
    """Where an answer stands: its word and, in brackets, its token. Evaluations of old have the token alone."""
    if token is None:
        return MISSING
    return f"({token:g})" if word is None else f"{word:g} ({token:g})"


def _pairs(pairs: Sequence[Pairs], sheet: parts.Sheet) -> Table:
    """A row an arm that is held against the first one."""
    first = _cut(pairs[0].names[0], 12)
    table = parts.table(
        sheet, f"!against {first}", ">both right", ">lost", ">gained", ">both wrong", ">change", ">95 %", ">p"
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
