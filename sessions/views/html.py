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

from msgspec import structs

from sessions.views import blocks, figures
from sessions.views.blocks import NUMBERS
from sessions.views.plain import bars_table
from sessions.views.writing import escaped, plain, written

_LIGHT = (
    "--wb-ink:#1b1f24;--wb-dim:#59636e;--wb-line:#d1d9e0;--wb-bar:#6ea8fe;--wb-back:#fff;--wb-warm:#b3541e;"
    "--wb-blue:#0b62c4;--wb-green:#1a7f37;--wb-violet:#8250df;"
)
_DARK = (
    "--wb-ink:#e6edf3;--wb-dim:#9198a1;--wb-line:#3d444d;--wb-bar:#316dca;--wb-back:#0d1117;--wb-warm:#f0883e;"
    "--wb-blue:#6cb6ff;--wb-green:#57ab5a;--wb-violet:#b083f0;"
)
#: Selectors that make a page light or dark, whatever its reader prefers.
_SAID = {
    "light": ".wb-light .wb,.wb.wb-light,[data-jp-theme-light=true] .wb,.vscode-light .wb",
    "dark": ".wb-dark .wb,.wb.wb-dark,[data-jp-theme-light=false] .wb,.vscode-dark .wb",
}
#: The most columns of a map whose numbers stand in its fields.
_SAID_COLUMNS = 12
#: The style of all blocks, for elements inside one of class `wb`.
STYLE = f"""
.wb{{{_LIGHT}color:var(--wb-ink);background:var(--wb-back);font:14px/1.5 system-ui,sans-serif;max-width:100%}}
.wb{{padding:.2em .5em;box-sizing:border-box}}
@media screen and (prefers-color-scheme:dark){{.wb{{{_DARK}}}}}
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
.wb .wb-text{{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;text-align:start}}
.wb .wb-note{{white-space:pre-wrap}}
.wb .wb-parts{{color:var(--wb-warm);font-weight:bold}}
.wb svg{{display:block;max-width:100%;height:auto}}
.wb svg text{{fill:var(--wb-dim);font:11px system-ui,sans-serif}}
.wb .wb-legend{{display:flex;flex-wrap:wrap;gap:.1em 1.4em}}
.wb .wb-legend svg{{display:inline-block;vertical-align:middle}}
.wb .wb-grid{{stroke:var(--wb-line);fill:none}}
.wb .wb-line{{fill:none;stroke-width:1.6;stroke-linejoin:round}}
.wb .wb-line-0{{stroke:var(--wb-blue)}}.wb .wb-line-1{{stroke:var(--wb-warm)}}
.wb .wb-line-2{{stroke:var(--wb-green)}}.wb .wb-line-3{{stroke:var(--wb-violet)}}
.wb .wb-dot{{fill:var(--wb-back);stroke-width:1.6}}
.wb .wb-knee{{fill:none;stroke:var(--wb-warm);stroke-width:1.6}}
.wb .wb-graph{{max-width:none}}
.wb .wb-edge{{fill:none;stroke:var(--wb-blue);stroke-opacity:.6}}
.wb .wb-minus{{stroke:var(--wb-warm)}}
.wb .wb-node rect{{fill:var(--wb-back);stroke:var(--wb-line)}}
.wb .wb-graph .wb-node text{{fill:var(--wb-ink);font:11px ui-monospace,monospace}}
.wb .wb-graph .wb-node .wb-under{{fill:var(--wb-dim)}}
.wb ul{{list-style:none;margin:.3em 0;padding-left:0}}
.wb .wb-heat td{{min-width:2em;height:1.9em;padding:0;border:1px solid var(--wb-line);font-size:.75em}}
.wb .wb-heat th{{border:0;font-size:.85em;padding:.1em .4em}}
.wb .wb-heat th[scope=col]{{text-align:center;padding:.1em .2em}}
.wb .wb-heat .wb-said{{padding:.2em .5em;text-align:right;vertical-align:middle}}
.wb .wb-heat td{{background:color-mix(in srgb,var(--wb-bar) var(--part,0%),transparent)}}
"""


def to_html(of: Iterable[blocks.AnyBlock]) -> str:
    """A fragment that shows these blocks."""
    return f'<div class="wb"><style>{STYLE}</style>{"".join(map(drawn, of))}</div>'


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


@drawn.register
def _(block: blocks.Facts) -> str:
    row = " · ".join(_isolated(escaped(fact.line)) for fact in block.items if not fact.name)
    named = [fact for fact in block.items if fact.name]
    cells = (f'<tr><th scope="row">{escaped(fact.name)}</th><td>{_parts(fact)}</td></tr>' for fact in named)
    title = f'<p class="wb-dim">{escaped(block.title)}</p>' if block.title else ""
    return title + (f"<p>{row}</p>" if row else "") + (f"<table>{''.join(cells)}</table>" if named else "")


def _parts(fact: blocks.Fact) -> str:
    return " · ".join(_isolated(escaped(part)) for part in fact.parts or (fact.text,))


def _isolated(markup: str) -> str:
    """Markup whose writing direction is its own, so that what stands beside it keeps its place."""
    return markup if markup.isascii() else f"<bdi>{markup}</bdi>"


@drawn.register
def _(block: blocks.Note) -> str:
    if block.verdict:
        return f"<p><b>{escaped(block.verdict)}</b>: {escaped(block.text)}</p>"
    if block.role == "remark":
        return f'<p class="wb-dim wb-note">· {_isolated(html.escape(plain(block.text)))}</p>'
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
    return f'<p class="wb-dim">{" · ".join(_isolated(escaped(fact)) for fact in arm.facts)}</p>' if arm.facts else ""


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


drawn.register(blocks.Curve, figures.curve)
drawn.register(blocks.Graph, figures.graph)


@drawn.register
def _(block: blocks.Heat) -> str:
    known = [abs(value) for row in block.cells for value in row if value is not None and math.isfinite(value)]
    scale = block.scale or blocks.HeatScale(start=0.0, end=max(known, default=0.0), names=("", ""))
    by_size = block.scale is None
    said = len(block.columns) <= _SAID_COLUMNS
    heads = "".join(f'<th scope="col">{escaped(name)}</th>' for name in block.columns)
    shaded = ("".join(_shade(value, scale, by_size, said) for value in cells) for cells in block.cells)
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th>{cells}</tr>' for name, cells in zip(block.rows, shaded, strict=True)
    )
    ends = (
        f"size, up to {scale.end:.4g}" if by_size else f"part of the way from {' to '.join(map(escaped, scale.names))}"
    )
    shades = f"; shades: {ends}" if known else ""
    caption = f"<caption>{escaped(block.title)}{shades}</caption>"
    return f'<div class="wb-wide"><table class="wb-heat">{caption}<tr><th></th>{heads}</tr>{rows}</table></div>'


def _shade(value: float | None, scale: blocks.HeatScale, by_size: bool, said: bool) -> str:
    """A field, the darker the further its number is along the scale. The number is its title, and stands in it where
    it is `said`. Where shades are `by_size`, the absolute value counts, and a negative number shows its sign."""
    if value is None or not math.isfinite(value):
        return "<td></td>"
    part = round(100 * min(1.0, max(0.0, scale.part(abs(value) if by_size else value))))
    sign = "−" if by_size and value < 0 else ""
    inside, kind = (f"{value:.3g}", ' class="wb-said"') if said else (sign, "")
    return f'<td{kind} title="{value:.4g}" style="--part:{part}%">{inside}</td>'


@drawn.register
def _(block: blocks.Tree) -> str:
    lines = (
        f'<li style="padding-left:{1.2 * branch.depth:.1f}em">{"└ " if branch.depth else ""}{escaped(branch.text)}</li>'
        for branch in block.branches
    )
    title = f'<p class="wb-dim">{escaped(block.title)}</p>' if block.title else ""
    return f"{title}<ul>{''.join(lines)}</ul>"
