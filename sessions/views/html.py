"""Blocks as self-contained HTML: own style, light and dark, no script, no requests.

    Path("circuit.html").write_text(to_page(view(result), "circuit"), encoding="utf-8")

The reader's preference chooses the colours. A class `wb-light` or `wb-dark` around the fragment, and the theme of a
notebook in Jupyter or VS Code, override it. Every text is escaped, so that nothing a model writes takes effect.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from itertools import groupby

from msgspec import structs

from sessions.views import blocks
from sessions.views.blocks import NUMBERS
from sessions.views.plain import bars_table
from sessions.views.writing import decimal, inline, plain, signed, written

_LIGHT = "--wb-ink:#1b1f24;--wb-dim:#59636e;--wb-line:#d1d9e0;--wb-bar:#6ea8fe;--wb-back:#fff;--wb-warm:#b3541e;"
_DARK = "--wb-ink:#e6edf3;--wb-dim:#9198a1;--wb-line:#3d444d;--wb-bar:#316dca;--wb-back:#0d1117;--wb-warm:#f0883e;"
#: Selectors that make a page light or dark, whatever its reader prefers.
_SAID = {
    "light": ".wb-light .wb,.wb.wb-light,[data-jp-theme-light=true] .wb,.vscode-light .wb",
    "dark": ".wb-dark .wb,.wb.wb-dark,[data-jp-theme-light=false] .wb,.vscode-dark .wb",
}
_STYLE = f"""
.wb{{{_LIGHT}color:var(--wb-ink);background:var(--wb-back);font:14px/1.5 system-ui,sans-serif;max-width:100%}}
.wb{{padding:.2em .5em;box-sizing:border-box}}
@media (prefers-color-scheme:dark){{.wb{{{_DARK}}}}}
{_SAID["light"]}{{{_LIGHT}}}
{_SAID["dark"]}{{{_DARK}}}
.wb .wb-wide{{overflow-x:auto}}
.wb p{{margin:.35em 0;overflow-wrap:anywhere}}
.wb .wb-dim{{color:var(--wb-dim)}}
.wb table{{border-collapse:collapse;margin:.5em 0;font-variant-numeric:tabular-nums;color:inherit;background:none}}
.wb caption{{text-align:left;white-space:nowrap;color:var(--wb-dim)}}
.wb th,.wb td{{padding:.1em .7em .1em 0;text-align:left;vertical-align:top;white-space:pre-wrap}}
.wb th,.wb td{{border:0;background:none}}
.wb th{{color:var(--wb-dim);font-weight:normal;border-bottom:1px solid var(--wb-line)}}
.wb th[scope=row]{{border:0}}
.wb th[title]{{text-decoration:underline dotted;cursor:help}}
.wb .wb-number{{text-align:right;white-space:nowrap}}
.wb .wb-key{{white-space:pre}}
.wb .wb-long{{white-space:pre-wrap;overflow-wrap:anywhere;min-width:5em}}
.wb .wb-bar{{display:block;height:.3em;background:var(--wb-bar);margin-left:auto}}
.wb .wb-texts{{display:flex;flex-wrap:wrap;gap:1em}}
.wb .wb-texts>div{{flex:1 1 20em;min-width:0}}
.wb .wb-text{{white-space:pre-wrap;overflow-wrap:anywhere}}
.wb .wb-parts{{color:var(--wb-warm);font-weight:bold}}
.wb svg{{display:block;max-width:100%;height:auto}}
.wb svg text{{fill:var(--wb-dim);font:11px system-ui,sans-serif}}
.wb ul{{list-style:none;margin:.3em 0;padding-left:0}}
.wb .wb-heat td{{width:1.4em;height:1.4em;padding:0;border:1px solid var(--wb-line)}}
.wb .wb-heat td{{background:color-mix(in srgb,var(--wb-bar) var(--part,0%),transparent)}}
"""
_WIDTH, _HEIGHT = 480, 160
#: Dash patterns of the lines of a curve, which tell them apart without colour.
_DASHES = ("", "6 3", "2 3", "8 3 2 3")


def to_html(of: Iterable[blocks.AnyBlock]) -> str:
    """A fragment that shows these blocks."""
    return f'<div class="wb"><style>{_STYLE}</style>{"".join(map(drawn, of))}</div>'


def to_page(of: Iterable[blocks.AnyBlock], title: str) -> str:
    """A whole page that shows these blocks."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta name="color-scheme" content="light dark"><title>{escaped(title)}</title>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{to_html(of)}</body></html>'


@singledispatch
def drawn(block: blocks.AnyBlock) -> str:
    """One block as HTML."""
    raise NotImplementedError(type(block).__name__)


def escaped(text: str) -> str:
    """Text on one line, escaped for HTML."""
    return html.escape(inline(text))


@drawn.register
def _(block: blocks.Facts) -> str:
    row = " · ".join(escaped(fact.line) for fact in block.items if not fact.name)
    named = [fact for fact in block.items if fact.name]
    cells = (f'<tr><th scope="row">{escaped(fact.name)}</th><td>{escaped(fact.line)}</td></tr>' for fact in named)
    title = f'<p class="wb-dim">{escaped(block.title)}</p>' if block.title else ""
    return title + (f"<p>{row}</p>" if row else "") + (f"<table>{''.join(cells)}</table>" if named else "")


@drawn.register
def _(block: blocks.Note) -> str:
    if block.verdict:
        return f"<p><b>{escaped(block.verdict)}</b>: {escaped(block.text)}</p>"
    if block.role == "remark":
        return f'<p class="wb-dim wb-text">· {html.escape(plain(block.text))}</p>'
    return f"<p>{escaped(block.text)}</p>"


@drawn.register
def _(block: blocks.Table) -> str:
    caption = f"<caption>{escaped(block.title)}</caption>" if block.title else ""
    heads = "".join(_head(column) for column in block.columns)
    head = f"<thead><tr>{heads}</tr></thead>" if any(column.title for column in block.columns) else ""
    marked = next((at for at, column in enumerate(block.columns) if column.drop is None), 0)
    rows = "".join(f"<tr>{''.join(_cells(block.columns, row, marked))}</tr>" for row in block.rows)
    note = f'<p class="wb-dim">{escaped(block.note)}</p>' if block.note else ""
    return f'<div class="wb-wide"><table>{caption}{head}<tbody>{rows}</tbody></table></div>{note}'


def _head(column: blocks.Column) -> str:
    about = f' title="{escaped(column.about)}"' if column.about else ""
    return f'<th scope="col"{_style(column, column.title)}{about}>{escaped(column.title)}</th>'


def _cells(columns: Sequence[blocks.Column], row: blocks.Row, marked: int) -> Iterator[str]:
    for at, (column, cell) in enumerate(zip(columns, row.cells, strict=True)):
        text = written(cell, column)
        if (column.whole or column.folds) and isinstance(cell, str):
            text = plain(cell)
        mark = f"{escaped(row.mark)} " if row.mark and at == marked else ""
        bar = ""
        if column.bar > 0 and isinstance(cell, int | float) and cell:
            bar = f'<span class="wb-bar" style="width:{min(100.0, 100 * abs(cell) / column.bar):.1f}%"></span>'
        yield f"<td{_style(column, text)}>{mark}{html.escape(text)}{bar}</td>"


def _style(column: blocks.Column, text: str) -> str:
    if column.kind in NUMBERS:
        return ' class="wb-number"'
    return ' class="wb-key"' if column.drop is None and len(text) <= 64 else ' class="wb-long"'


@drawn.register
def _(block: blocks.Texts) -> str:
    arms = "".join(f'<div>{_facts(arm)}<div class="wb-text">{_text(arm)}</div></div>' for arm in block.arms)
    return f'<div class="wb-texts">{arms}</div>'


def _facts(arm: blocks.ArmText) -> str:
    return f'<p class="wb-dim">{" · ".join(map(escaped, arm.facts))}</p>' if arm.facts else ""


def _text(arm: blocks.ArmText) -> str:
    if arm.thought:
        thought = f'<div class="wb-dim">{html.escape(plain(arm.thought))}</div>'
        return thought + _text(structs.replace(arm, thought=""))
    if not arm.text:
        return '<span class="wb-dim">(empty)</span>'
    if arm.parts_at is None:
        return html.escape(plain(arm.text))
    same, other = (html.escape(plain(text)) for text in (arm.text[: arm.parts_at], arm.text[arm.parts_at :]))
    return f'{same}<span class="wb-parts">▸</span>{other}'


@drawn.register
def _(block: blocks.Bars) -> str:
    return drawn(bars_table(block))


@drawn.register
def _(block: blocks.Curve) -> str:
    known = [(x, y) for line in block.lines for x, y in line.points if _is_known(y)]
    if not known:
        return ""
    left, right = min(x for x, _ in known), max(x for x, _ in known)
    low, high = min(0.0, *(y or 0.0 for _, y in known)), max(y or 0.0 for _, y in known)

    def at(x: float, y: float) -> str:
        across = (x - left) / (right - left) if right > left else 0.5
        up = (y - low) / (high - low) if high > low else 0.5
        return f"{40 + across * (_WIDTH - 60):.1f},{_HEIGHT - 20 - up * (_HEIGHT - 35):.1f}"

    drawings = []
    for number, line in enumerate(block.lines):
        dash = f' stroke-dasharray="{dashes}"' if (dashes := _DASHES[number % len(_DASHES)]) else ""
        for there, run in groupby(line.points, key=lambda point: _is_known(point[1])):
            points = " ".join(at(x, y or 0.0) for x, y in run) if there else ""
            if points:
                drawings.append(f'<polyline points="{points}" fill="none" stroke="currentColor"{dash}/>')
        for x, y in line.points:
            if x in line.marked and _is_known(y):
                across, up = at(x, y or 0.0).split(",")
                drawings.append(f'<circle cx="{across}" cy="{up}" r="5" fill="none" stroke="currentColor"/>')
    names = ", ".join(escaped(line.name) for line in block.lines)
    axis = (
        f'<text x="0" y="14">{decimal(high, 2)}</text><text x="0" y="{_HEIGHT - 22}">{decimal(low, 2)}</text>'
        f'<text x="40" y="{_HEIGHT - 4}">{left:g}</text>'
        f'<text x="{_WIDTH - 20}" y="{_HEIGHT - 4}" text-anchor="end">{escaped(block.x)} {right:g}</text>'
    )
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    title = f'<p class="wb-dim">{escaped(block.title)}{f": {names}" if len(block.lines) > 1 else ""}</p>'
    return f'{title}<svg {size} role="img" aria-label="{escaped(block.title)}">{axis}{"".join(drawings)}</svg>'


def _is_known(y: float | None) -> bool:
    return y is not None and math.isfinite(y)


@drawn.register
def _(block: blocks.Heat) -> str:
    known = [abs(value) for row in block.cells for value in row if value is not None and math.isfinite(value)]
    scale = block.scale or blocks.HeatScale(start=0.0, end=max(known, default=0.0), names=("", ""))
    by_size = block.scale is None
    heads = "".join(f"<th>{escaped(name)}</th>" for name in block.columns)
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th>{"".join(_shade(value, scale, by_size) for value in cells)}</tr>'
        for name, cells in zip(block.rows, block.cells, strict=True)
    )
    shades = "" if by_size else f"; shades: part of the way from {' to '.join(map(escaped, scale.names))}"
    caption = f"<caption>{escaped(block.title)}{shades}</caption>"
    return f'<div class="wb-wide"><table class="wb-heat">{caption}<tr><th></th>{heads}</tr>{rows}</table></div>'


def _shade(value: float | None, scale: blocks.HeatScale, by_size: bool) -> str:
    """A square, the darker the further its number is along the scale. The number is its title. Where shades are
    `by_size`, the absolute value counts, and a negative number shows its sign."""
    if value is None or not math.isfinite(value):
        return "<td></td>"
    part = round(100 * min(1.0, max(0.0, scale.part(abs(value) if by_size else value))))
    return f'<td title="{value:.4g}" style="--part:{part}%">{"−" if by_size and value < 0 else ""}</td>'


@drawn.register
def _(block: blocks.Tree) -> str:
    lines = (
        f'<li style="padding-left:{1.2 * branch.depth:.1f}em">{"└ " if branch.depth else ""}{escaped(branch.text)}</li>'
        for branch in block.branches
    )
    title = f'<p class="wb-dim">{escaped(block.title)}</p>' if block.title else ""
    return f"{title}<ul>{''.join(lines)}</ul>"


@drawn.register
def _(block: blocks.Graph) -> str:
    """Nodes in rows by layer, the lowest at the bottom. Stronger edges have wider lines."""
    step, wide = 60, max(_WIDTH, 110 * max(map(len, block.layers), default=1))
    tall = step * len(block.layers) + 20
    places = {
        name: (wide * (number + 0.5) / len(layer), tall - step * (row + 0.5))
        for row, layer in enumerate(block.layers)
        for number, name in enumerate(layer)
    }
    largest = max((abs(link.weight) for link in block.links), default=0.0) or 1.0
    lines = "".join(
        _link(link, places[link.source], places[link.target], largest)
        for link in block.links
        if link.source in places and link.target in places
    )
    nodes = "".join(
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escaped(name)}</text>' for name, (x, y) in places.items()
    )
    size = f'viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}"'
    drawing = f'<svg {size} role="img" aria-label="{escaped(block.title)}">{lines}{nodes}</svg>'
    return f'<p class="wb-dim">{escaped(block.title)}</p><div class="wb-wide">{drawing}</div>'


def _link(link: blocks.Link, source: tuple[float, float], target: tuple[float, float], largest: float) -> str:
    ends = f'x1="{source[0]:.0f}" y1="{source[1] - 12:.0f}" x2="{target[0]:.0f}" y2="{target[1] + 5:.0f}"'
    dash = ' stroke-dasharray="4 3"' if link.weight < 0 else ""
    title = f"<title>{escaped(link.source)} → {escaped(link.target)} {signed(link.weight)}</title>"
    width = 0.5 + 3 * abs(link.weight) / largest
    return f'<line {ends} stroke="currentColor" stroke-width="{width:.1f}"{dash}>{title}</line>'
