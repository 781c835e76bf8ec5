"""Curves and graphs as SVG, for `sessions.views.html`.

A figure is drawn by classes whose colours its page sets, light or dark; dashes and widths say the same as the colours.
No text of a figure becomes markup.
"""

from __future__ import annotations

import html
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, groupby, pairwise, zip_longest
from typing import NamedTuple

from sessions.views.blocks import Curve, Graph, Link
from sessions.views.writing import cells, decimal, escaped, inline, quoted, shortened, signed

#: Dash patterns of the lines of a curve, which tell them apart without colour.
_DASHES = ("", "6 3", "2 3", "8 3 2 3")


# ---- curves


_WIDTH, _HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 10, 38
#: The most points of a line that are drawn as dots too.
_DOTTED = 24


class _Axis(NamedTuple):
    """A range of numbers along a line of the drawing, from `first` to `last` in its units."""

    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        # Halves, since the difference of two numbers may be too large for a number.
        whole = self.high / 2 - self.low / 2
        part = (value / 2 - self.low / 2) / whole if whole > 0 else 0.5
        return self.first + part * (self.last - self.first)


def curve(block: Curve) -> str:
    """Lines over a common x. A number that is none, and one that is infinite, leaves a gap."""
    known = [(x, y) for line in block.lines for x, y in line.points if y is not None and math.isfinite(y)]
    if not known:
        return f'<p class="wb-dim">{escaped(block.title)}: no numbers</p>' if block.title else ""
    left, right = min(x for x, _ in known), max(x for x, _ in known)
    low, high = min(y for _, y in known), max(y for _, y in known)
    xs, ys = ticks(left, right, 8), ticks(min(0.0, low), max(0.0, high), 5)
    across = _Axis(left, right, _LEFT, _WIDTH - _RIGHT)
    upward = _Axis(min(ys[0], low), max(ys[-1], high), _HEIGHT - _BOTTOM, _TOP)
    lines = "".join(
        part for number, line in enumerate(block.lines) for part in _line(line.points, number, across, upward)
    )
    lines += "".join(
        f'<circle cx="{across.at(x):.1f}" cy="{upward.at(y):.1f}" r="6" class="wb-knee"/>'
        for line in block.lines
        for x, y in line.points
        if x in line.marked and y is not None and math.isfinite(y)
    )
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    drawing = (
        f'<svg {size} role="img" aria-label="{escaped(block.title)}">'
        f"{_grid(ys, upward)}{_marks(xs, across, block.x)}{lines}</svg>"
    )
    gaps = sum(len(line.points) for line in block.lines) - len(known)
    missing = f' <span class="wb-dim">({gaps:,} without a number)</span>' if gaps else ""
    return f'<p class="wb-dim">{escaped(block.title)}{missing}</p>{_legend(block)}{drawing}'


def _legend(block: Curve) -> str:
    if len(block.lines) < 2:
        return ""
    entries = (
        f'<span><svg width="26" height="8" aria-hidden="true"><path d="M0 4H26"{_stroke(number)}/></svg> '
        f"{escaped(line.name)}</span>"
        for number, line in enumerate(block.lines)
    )
    return f'<p class="wb-legend">{"".join(entries)}</p>'


def _stroke(number: int) -> str:
    dashes = _DASHES[number % len(_DASHES)]
    return f' class="wb-line wb-line-{number % 4}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _line(points: Sequence[tuple[float, float | None]], number: int, across: _Axis, upward: _Axis) -> Iterator[str]:
    """The parts of a line between its gaps, with a dot at each point where these are few or alone."""
    few = len(points) <= _DOTTED
    for there, run in groupby(points, key=lambda point: point[1] is not None and math.isfinite(point[1])):
        places = [(f"{across.at(x):.1f}", f"{upward.at(y or 0.0):.1f}") for x, y in run] if there else []
        if len(places) > 1:
            yield f'<polyline points="{" ".join(map(",".join, places))}"{_stroke(number)}/>'
        for x, y in places if few or len(places) == 1 else ():
            yield f'<circle cx="{x}" cy="{y}" r="2.5" class="wb-dot wb-line-{number % 4}"/>'


def _grid(values: Sequence[float], axis: _Axis) -> str:
    digits = _digits(values)
    return "".join(
        f'<path class="wb-grid" d="M{_LEFT} {axis.at(value):.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{axis.at(value) + 4:.1f}" text-anchor="end">{decimal(value, digits)}</text>'
        for value in values
    )


def _marks(values: Sequence[float], axis: _Axis, name: str) -> str:
    digits, line = _digits(values), _HEIGHT - _BOTTOM
    marks = "".join(
        f'<path class="wb-grid" d="M{axis.at(value):.1f} {line}v4"/>'
        f'<text x="{axis.at(value):.1f}" y="{line + 16}" text-anchor="middle">{decimal(value, digits)}</text>'
        for value in values
    )
    return f'{marks}<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{escaped(name)}</text>'


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`, at most about `most` of them: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    if not 1e-300 < rough < math.inf:
        return [low, high]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)] or [low, high]


def _digits(values: Sequence[float]) -> int:
    """Decimals that tell the ticks apart."""
    step = min((abs(b - a) for a, b in pairwise(values)), default=abs(values[0]) or 1.0)
    return min(6, max(0, -math.floor(math.log10(step) + 1e-9))) if 0 < step < math.inf else 0


# ---- graphs


#: Units of the drawing: a character of a node's name, the height of a line, the gaps between nodes and between layers.
_CHARACTER, _TEXT, _GAP, _APART = 7.0, 13, 14, 44
#: The width beyond which a layer is set in several rows, and the gap between these.
_WIDEST, _CLOSE = 900, 18
_MARGIN = 8
#: The most cells of a note under a node's name.
_NOTE = 18


class _Node(NamedTuple):
    number: int
    name: str
    note: str
    width: float


class _Row(NamedTuple):
    """A layer, or a part of one that is too wide: its name, its nodes, and the place of its middle, upwards from 0."""

    name: str
    nodes: Sequence[_Node]
    up: float


def graph(block: Graph) -> str:
    """Nodes in rows by layer, the lowest at the bottom. Stronger edges have wider lines, negative ones are dashed.

    Nodes and edges carry numbers, by which the script of a report knows them.
    """
    height = _TEXT * (2 if block.notes else 1) + 8
    rows = _rows(block, height)
    nodes = [node for row in rows for node in row.nodes]
    title = f'<p class="wb-dim">{escaped(block.title)}</p>' if block.title else ""
    if not nodes:
        return f"{title}<p>no nodes</p>"
    numbered = {node.name: node.number for node in nodes}
    links = [link for link in block.links if link.source in numbered and link.target in numbered]
    side = _MARGIN + _CHARACTER * max(cells(inline(row.name)) for row in rows) + _GAP
    largest = max((abs(link.weight) for link in links if math.isfinite(link.weight)), default=0.0) or 1.0
    across = _placed([row.nodes for row in rows], links, largest)
    wide = side + max(across[node.number] + node.width / 2 for node in nodes) + _MARGIN
    tall = rows[-1].up + height + 2 * _MARGIN
    bottom = tall - _MARGIN - height / 2
    at = {node.number: (side + across[node.number], bottom - row.up) for row in rows for node in row.nodes}
    drawings = [
        f'<text class="wb-layer" x="{_MARGIN}" y="{bottom - row.up + 4:.0f}">{escaped(row.name)}</text>'
        for row in rows
        if row.name
    ]
    drawings += (_edge(link, numbered, at, height, largest) for link in sorted(links, key=lambda e: abs(e.weight)))
    drawings += (_box(node, at[node.number], height) for node in nodes)
    size = f'viewBox="0 0 {wide:.0f} {tall:.0f}" width="{wide:.0f}" height="{tall:.0f}"'
    drawing = f'<svg class="wb-graph" {size} role="img" aria-label="{escaped(block.title)}">{"".join(drawings)}</svg>'
    return f'{title}<div class="wb-wide">{drawing}</div>'


def _rows(block: Graph, height: float) -> list[_Row]:
    """The layers as rows; the nodes of a wide one stand in several rows by turns, close to each other."""
    numbers, rows, up = count(), list[_Row](), -height - _APART
    for names, name in zip_longest(block.layers, block.names[: len(block.layers)], fillvalue=()):
        nodes = [_node(next(numbers), each, block.notes) for each in names]
        several = max(1, math.ceil(sum(node.width + _GAP for node in nodes) / _WIDEST))
        for part in range(several if nodes else 0):
            up += height + (_CLOSE if part else _APART)
            rows.append(_Row(str(name or "") if part == 0 else "", nodes[part::several], up))
    return rows


def _part(link: Link, largest: float) -> float:
    """The strength of an edge as a part of the largest; 0 where it is no number."""
    return min(abs(link.weight) / largest, 1.0) if math.isfinite(link.weight) else 0.0


def _node(number: int, name: str, notes: Mapping[str, str]) -> _Node:
    note = quoted(shortened(notes[name], _NOTE)) if name in notes else ""
    return _Node(number, name, note, _CHARACTER * max(cells(inline(name)), cells(note)) + 12)


def _placed(layers: Sequence[Sequence[_Node]], links: Sequence[Link], largest: float) -> dict[int, float]:
    """The place of each node across the drawing: near those that it is linked to, in the given order, and apart."""
    numbered = {node.name: node.number for layer in layers for node in layer}
    beside: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for link in links:
        ends = numbered[link.source], numbered[link.target]
        part = _part(link, largest)
        beside[ends[0]].append((ends[1], part))
        beside[ends[1]].append((ends[0], part))
    places: dict[int, float] = {}
    for layer in layers:
        places |= zip([node.number for node in layer], _apart(layer, [0.0] * len(layer)), strict=True)
    for sweep in range(6):
        for layer in layers if sweep % 2 else reversed(layers):
            wanted = [_middle(places, beside[node.number], places[node.number]) for node in layer]
            places |= zip([node.number for node in layer], _apart(layer, wanted), strict=True)
    widths = {node.number: node.width for layer in layers for node in layer}
    left = min((x - widths[number] / 2 for number, x in places.items()), default=0.0)
    return {number: x - left for number, x in places.items()}


def _middle(places: Mapping[int, float], beside: Sequence[tuple[int, float]], otherwise: float) -> float:
    whole = sum(weight for _, weight in beside)
    return sum(places[other] * weight for other, weight in beside) / whole if whole > 1e-9 else otherwise


def _apart(layer: Sequence[_Node], wanted: Sequence[float]) -> list[float]:
    """Places near those that are wanted, in which no node covers the next: the mean of the two that push one way."""
    gaps = [(a.width + b.width) / 2 + _GAP for a, b in pairwise(layer)]
    rightward, leftward = [*wanted], [*wanted]
    for number, gap in enumerate(gaps):
        rightward[number + 1] = max(wanted[number + 1], rightward[number] + gap)
        back = len(gaps) - number
        leftward[back - 1] = min(wanted[back - 1], leftward[back] - gaps[back - 1])
    return [(a + b) / 2 for a, b in zip(rightward, leftward, strict=True)]


def _edge(
    link: Link, numbered: Mapping[str, int], at: Mapping[int, tuple[float, float]], height: float, largest: float
) -> str:
    source, target = numbered[link.source], numbered[link.target]
    (x, y), (to_x, to_y) = at[source], at[target]
    y, to_y = (y - height / 2, to_y + height / 2) if y > to_y else (y + height / 2, to_y - height / 2)
    bend = (to_y - y) * 0.45
    path = f"M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y:.0f}"
    part = _part(link, largest)
    sign = ' wb-minus" stroke-dasharray="5 3' if link.weight < 0 else ""
    title = f"<title>{escaped(link.source)} → {escaped(link.target)} {signed(link.weight)}</title>"
    return (
        f'<path class="wb-edge{sign}" d="{path}" stroke-width="{0.6 + 3.9 * part:.1f}" '
        f'data-from="{source}" data-to="{target}" data-weight="{link.weight:.6g}">{title}</path>'
    )


def _box(node: _Node, at: tuple[float, float], height: float) -> str:
    (x, y), width = at, node.width
    rect = f'<rect x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width:.0f}" height="{height:.0f}" rx="3"/>'
    first = y - 3 if node.note else y + 4
    name = f'<text x="{x:.0f}" y="{first:.0f}" text-anchor="middle">{escaped(node.name)}</text>'
    note = (
        f'<text class="wb-under" x="{x:.0f}" y="{y + 12:.0f}" text-anchor="middle">{html.escape(node.note)}</text>'
        if node.note
        else ""
    )
    return f'<g class="wb-node" data-node="{node.number}">{rect}{name}{note}</g>'
