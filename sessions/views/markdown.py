"""Blocks as Markdown, to paste into notes and issues. Every text is escaped, so that it shows as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sessions.views.blocks import NUMBERS, AnyBlock, Facts, Graph, Note, Table, Texts, Tree
from sessions.views.plain import tables
from sessions.views.writing import inline, plain, signed, written

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def to_markdown(of: Iterable[AnyBlock]) -> str:
    """These blocks as Markdown: tables as tables, statements as paragraphs, texts as quotations."""
    return "\n\n".join(filter(None, map(_block, of)))


def _block(block: AnyBlock) -> str:
    match block:
        case Facts(items=items, title=title):
            row = " · ".join(_escaped(fact.line) for fact in items if not fact.name)
            named = [f"- {_escaped(fact.name)}: {_escaped(fact.line)}" for fact in items if fact.name]
            return "\n\n".join(filter(None, (_escaped(title), row, "\n".join(named))))
        case Note(text=text, verdict=verdict):
            return f"**{_escaped(verdict)}**: {_escaped(text)}" if verdict else _escaped(text)
        case Texts(arms=arms):
            return "\n\n".join(f"{_escaped(' · '.join(arm.facts))}\n\n{_quotation(arm.text)}".strip() for arm in arms)
        case Tree(title=title, branches=branches):
            lines = [f"{'  ' * branch.depth}- {_escaped(branch.text)}" for branch in branches]
            return "\n\n".join(filter(None, (_escaped(title), "\n".join(lines))))
        case Graph(tabled=True):
            return ""
        case Graph(title=title, links=links):
            lines = [f"- {signed(link.weight)} {_escaped(link.source)} → {_escaped(link.target)}" for link in links]
            return "\n\n".join(filter(None, (_escaped(title), "\n".join(lines))))
    return "\n\n".join(map(table_markdown, tables([block])))


def table_markdown(table: Table, rows: Sequence[int] | None = None) -> str:
    """A table, or some of its rows in this order."""
    heads = [_escaped(column.title or column.key) for column in table.columns]
    ruled = ["---:" if column.kind in NUMBERS else "---" for column in table.columns]
    lines = [heads, ruled]
    for number in range(len(table.rows)) if rows is None else rows:
        cells = zip(table.rows[number].cells, table.columns, strict=True)
        lines.append([_escaped(written(cell, column)) for cell, column in cells])
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{_escaped(table.title)}\n\n{drawn}" if table.title else drawn


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", inline(text))


def _quotation(text: str) -> str:
    return "\n".join(f"> {_escaped(line)}".rstrip() for line in plain(text).split("\n"))
