"""Curves, maps and distributions of a view, drawn on matplotlib axes.

    axes = plot(view(result))            # result.plot()

Lines take the colours of the user's style. Texts of a user or a model are never read as mathematics: a `$` is a `$`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sessions.errors import UsageError
from sessions.views.blocks import AnyBlock, Bars, Curve, Heat
from sessions.views.plain import tables
from sessions.views.writing import inline, quoted, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What keeps matplotlib from reading a text as TeX.
_LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False}
#: Most characters of a name and of a title, lines in a legend, and names along an axis.
_NAME, _TITLE, _LEGEND, _TICKS = 28, 90, 12, 32


def plot(blocks: Iterable[AnyBlock], ax: Axes | None = None) -> Axes:
    """Draw the first curve or map of a view, else its first distribution, on `ax` or on a new figure.

    Raises:
        UsageError: the view has none of these, or `ax` is not axes.
    """
    blocks = tuple(blocks)
    drawable: list[AnyBlock] = [block for block in blocks if isinstance(block, Curve | Heat)]
    drawable += [block for block in blocks if isinstance(block, Bars)]
    if not drawable:
        hint = "to_pandas() gives its table" if tables(blocks) else "to_text() shows what it has"
        raise UsageError("this result has no curve, map or distribution to plot", hint)
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(layout="constrained")
    elif not hasattr(ax, "imshow"):
        raise UsageError(f"ax is of type {type(ax).__name__}", "give axes: figure, ax = plt.subplots()")
    match drawable[0]:
        case Curve() as curve:
            _draw_curve(curve, ax)
        case Heat() as heat:
            _draw_heat(heat, ax)
        case Bars() as bars:
            _draw_bars(bars, ax)
    return ax


def _draw_curve(block: Curve, ax: Axes) -> None:
    for line in block.lines:
        heights = [_number(y) for _, y in line.points]
        (drawn,) = ax.plot([x for x, _ in line.points], heights, label=f" {_short(line.name)}")
        if len(line.points) <= _TICKS:
            drawn.set_marker(".")
        marked = [(x, _number(y)) for x, y in line.points if x in line.marked]
        if marked:
            xs, ys = zip(*marked, strict=True)
            ax.plot(xs, ys, "o", markersize=11, fillstyle="none", color=drawn.get_color(), label="_nolegend_")
    ax.set_xlabel(inline(block.x), **_LITERAL)
    ax.set_ylabel(shortened(inline(block.title), _TITLE // 2), **_LITERAL)
    if 1 < len(block.lines) <= _LEGEND:
        _legend(ax)


def _draw_heat(block: Heat, ax: Axes) -> None:
    if not block.rows or not block.columns:
        raise UsageError("the map of this result is empty", "to_text() shows what it has")
    cells = [[_number(value) for value in row] for row in block.cells]
    known = [value for row in cells for value in row if math.isfinite(value)]
    scale = block.scale
    if scale is not None:
        ends, colours = (scale.start, scale.end), "viridis" if scale.end >= scale.start else "viridis_r"
    elif any(value < 0 for value in known):
        largest = max(map(abs, known))
        ends, colours = (-largest, largest), "RdBu_r"
    else:
        ends, colours = (0.0, max(known, default=0.0)), "viridis"
    low, high = min(ends), max(ends)
    image = ax.imshow(cells, cmap=colours, vmin=low, vmax=high if high > low else low + 1, aspect="auto")
    ax.figure.colorbar(image, ax=ax)
    _name_ticks(ax, "y", block.rows)
    _name_ticks(ax, "x", block.columns)
    ax.set_title(_wrapped(inline(block.title)), fontsize="medium", **_LITERAL)


def _draw_bars(block: Bars, ax: Axes) -> None:
    places = range(len(block.bars))
    for number, (name, side) in enumerate(zip(block.names, ("before", "after"), strict=True)):
        heights = [_number(getattr(bar, side)) for bar in block.bars]
        ax.barh([at + 0.4 * (number - 0.5) for at in places], heights, height=0.38, label=f" {_short(name)}")
    labels = [_short(quoted(bar.token)) + (f" ({bar.role})" if bar.role else "") for bar in block.bars]
    ax.set_yticks(list(places), labels, **_LITERAL)
    ax.invert_yaxis()
    ax.set_xlabel(f"p of the {inline(block.title)}", **_LITERAL)
    _legend(ax)


def _number(value: float | None) -> float:
    """The number; NaN, which is not drawn, where it is unknown or infinite."""
    return value if value is not None and math.isfinite(value) else math.nan


def _short(text: str) -> str:
    return shortened(inline(text), _NAME)


def _wrapped(title: str) -> str:
    """A long title on two lines."""
    if len(title) <= _TITLE * 2 // 3:
        return title
    at = title.rfind(" ", 0, len(title) // 2 + _NAME // 2)
    first, second = (title[:at], title[at + 1 :]) if at > 0 else (title, "")
    return f"{shortened(first, _TITLE)}\n{shortened(second, _TITLE)}".rstrip()


def _name_ticks(ax: Axes, axis: str, names: Sequence[str]) -> None:
    """The names along an axis, as many as have room."""
    step = -(-len(names) // _TICKS)
    places = list(range(0, len(names), step))
    labels = [_short(names[at]) for at in places]
    (ax.set_yticks if axis == "y" else ax.set_xticks)(places, labels, **_LITERAL)
    if axis == "x" and max(map(len, labels)) * len(labels) > _TITLE:
        ax.tick_params(axis="x", rotation=90)


def _legend(ax: Axes) -> None:
    """A legend. A name in it begins with a space: matplotlib leaves out those that begin with `_`."""
    for text in ax.legend().get_texts():
        text.update(_LITERAL)
