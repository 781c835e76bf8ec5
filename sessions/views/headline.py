"""The headline of a result: one short line that says what came of it, made from its view alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sessions.views.blocks import AnyBlock, Curve, Facts, Graph, Heat, Note, Row, Table, Texts, Tree
from sessions.views.writing import counted, inline, quoted, written

#: The most facts of a headline, and the most characters of a text in it.
_MOST, _LONGEST = 6, 120
#: The most rows of a table, and the most cells of each.
_ROWS, _CELLS = 3, 2
#: A quotation to the end of a statement.
_QUOTE = re.compile(r'^\w+ "(.+)"$')


def headline(of: Iterable[AnyBlock], line: str = "") -> str:
    """What came of a command, on one line. Statements that `line`, the typed one, says already are left out.

    A verdict comes first, then facts that are the conclusion, then how the last of several texts differs. Else it is
    made of the block that opens the view.
    """
    blocks = tuple(of)
    for block in sorted(blocks, key=_weight):
        parts = [part for part in _parts(block) if part and not _is_in(part, line)]
        if parts:
            return inline(" · ".join(parts[:_MOST]))
    return ""


def _is_in(part: str, line: str) -> bool:
    """Whether a line says a statement already, or what it quotes."""
    return part in line or bool((quote := _QUOTE.search(part)) and quote[1] in line)


def _weight(block: AnyBlock) -> int:
    """The place of a block among those that a headline is made of: 0 comes first."""
    match block:
        case Note(verdict=verdict) if verdict:
            return 0
        case Facts(conclusion=True):
            return 1
        case Texts(arms=arms) if len(arms) > 1:
            return 2
    return 3


def _parts(block: AnyBlock) -> Iterator[str]:
    """The statements of a block, the most important one first."""
    match block:
        case Facts(items=items, title=title):
            yield from (fact.line if not fact.name else f"{fact.name} {fact.line}" for fact in items)
            if not items:
                yield title
        case Note(text=text, role="plain", verdict=verdict):
            yield f"{verdict}: {text}" if verdict else text
        case Table(title=title, rows=rows):
            yield title
            yield from (_row(block, row) for row in rows[:_ROWS])
            if len(rows) > _ROWS:
                yield f"{counted(len(rows), 'row')} in all"
        case Texts(arms=arms) if len(arms) > 1:
            yield from arms[-1].facts
        case Texts(arms=arms) if arms:
            yield quoted(arms[-1].text[:_LONGEST])
            yield from arms[-1].facts
        case Curve(title=title) | Heat(title=title) | Graph(title=title):
            yield title
        case Tree(title=title, branches=branches):
            yield title or (branches[0].text if branches else "")


def _row(table: Table, row: Row) -> str:
    """The key cells of a row, and its first other ones if there is room for them."""
    order = sorted(range(len(table.columns)), key=lambda at: table.columns[at].drop is not None)
    cells = ((written(row.cells[at], table.columns[at])) for at in order[:_CELLS])
    return " ".join(cell for cell in cells if cell)
