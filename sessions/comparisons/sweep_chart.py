"""A sweep as a picture, SVG or PNG: the measure over the multipliers, with a line for each selection.

Many prompts are thin lines, with their mean on top. A circle marks the knee on each side of the baseline. Lines are
named at their ends, and each has its own colour and marker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sessions.comparisons.sweep_points import SweepCurve, SweepPoint, lines_of
from sessions.picture import COLOURS, GREY, RULE, SIZE, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: Most characters of a name beside a line, and the least distance between names, in points.
_NAME, _APART = 28, 13.0


NEURONS = "multiplier on the neurons  (0 ablates, 1 leaves)"


def drawn(
    curves: Sequence[SweepCurve], cells: Sequence[SweepPoint], measured: str, ending: str, over: str = NEURONS
) -> bytes:
    """The picture.

    Args:
        measured: what the heights of the cells measure: `p(" Austin")`.
        ending: ".svg" or ".png".
        over: what is varied, in words.
    """
    return picture(lambda figure: _draw(figure, curves, cells, _drawable(measured), over), ending)


def _draw(figure: Figure, curves: Sequence[SweepCurve], cells: Sequence[SweepPoint], measured: str, over: str) -> None:
    axes = figure.add_subplot()
    several = len(curves[0].knees) > 1
    multipliers = sorted({point.multiplier for curve in curves for point in curve.points})
    axes.axvline(curves[0].knees[0].base, color=RULE, linewidth=1, zorder=1)
    ends = []
    for number, curve in enumerate(curves):
        colour, marker = COLOURS[number % len(COLOURS)], _MARKERS[number % len(_MARKERS)]
        if several:
            for line in lines_of(curve.selection, cells):
                xs, ys = _points((cell.multiplier, cell.height) for cell in line)
                axes.plot(xs, ys, color=colour, linewidth=0.7, alpha=_faint(len(curve.knees)), zorder=2)
        xs, ys = _points((point.multiplier, point.height) for point in curve.points)
        axes.plot(xs, ys, color=colour, linewidth=2.2, marker=marker, markersize=4.5, zorder=3)
        heights = dict(zip(xs, ys, strict=True))
        for at in _knees(curve):
            if at in heights:
                axes.plot([at], [heights[at]], "o", markersize=12, fillstyle="none", color=colour, mew=1.6, zorder=4)
        if ys:
            ends.append((ys[-1], _drawable(curve.selection), colour))
    axes.set_xlabel(over)
    _scales(axes, multipliers, max((cell.height or 0.0 for cell in cells), default=0.0), measured)
    if several:
        label = f"{len(curves[0].knees)} prompts, thin, and their mean"
        axes.set_title(label, loc="left", fontsize=10, color=GREY)
    _name_lines(axes, multipliers[-1], ends)
    figure.supxlabel(_legend(curves, several), fontsize=8.5, color=GREY)


def _scales(axes: Axes, multipliers: Sequence[float], highest: float, measured: str) -> None:
    axes.set_ylabel(measured)
    top = 1.0 if highest > 0.75 else max(1.1 * highest, 0.01)
    axes.set_ylim(-0.03 * top, 1.03 * top)
    axes.set_xticks(_ticks(multipliers), [f"{tick:g}" for tick in _ticks(multipliers)])
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=GREY, labelcolor="black", length=3)


def _name_lines(axes: Axes, last: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """The names of the lines beside their ends, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    points = axes.get_position().height * SIZE[1] * 72  # of the axes' height, roughly
    apart = _APART * (high - low) / points
    level = low - apart
    places = []
    for height, name, colour in sorted(ends):
        level = max(level + apart, height)
        places.append((level, name, colour, height))
    over = max(places[-1][0] - high, 0) if places else 0
    for number in range(len(places) - 1, -1, -1):  # a name that was pushed over the top moves down again
        above = places[number + 1][0] - apart if number + 1 < len(places) else high
        level, name, colour, height = places[number]
        places[number] = (min(level, above) if over else level, name, colour, height)
    for level, name, colour, height in places:
        moved = abs(level - height) > apart / 4
        axes.annotate(
            name,
            (last, height),
            xytext=(12, (level - height) * points / (high - low)),
            textcoords="offset points",
            color=colour,
            va="center",
            fontweight="bold",
            fontsize=9,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkB": 4} if moved else None,
        )


def _legend(curves: Sequence[SweepCurve], many: bool) -> str:
    """What the circles mean, in words."""
    flipping = [curve for curve in curves if curve.flips]
    if not flipping:
        return "nothing flips the likeliest next token"
    base = f"{curves[0].knees[0].base:g}"
    if many:
        return f"○ knee, on each side of {base}: that of the median prompt whose likeliest next token flips"
    return f"○ knee: the one nearest to {base}, on each side, that flips the likeliest next token"


def _knees(curve: SweepCurve) -> Iterator[float]:
    """A curve's knees on each side; for many prompts, the medians."""
    for _, median in (curve.below, curve.above):
        if median is not None:
            yield median


def _points(pairs: Iterator[tuple[float, float | None]]) -> tuple[list[float], list[float]]:
    known = [(x, y) for x, y in pairs if y is not None]
    return [x for x, _ in known], [y for _, y in known]


def _faint(prompts: int) -> float:
    return max(0.12, min(0.45, 4 / prompts))


def _ticks(multipliers: Sequence[float]) -> list[float]:
    """Multipliers written at the axis: none overlap; the ends and, if it is one, 1 are always among them."""
    least = (multipliers[-1] - multipliers[0]) / 16
    kept = [1.0] if 1.0 in multipliers else []
    for multiplier in (multipliers[0], multipliers[-1], *multipliers):
        if all(abs(multiplier - other) >= least for other in kept) and multiplier not in kept:
            kept.append(multiplier)
    return sorted(kept)


def _drawable(text: str) -> str:
    """A text on one line that a picture can show: unprintable characters are escaped, long texts cut."""
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return shown if len(shown) <= _NAME else shown[: _NAME - 1] + "…"
