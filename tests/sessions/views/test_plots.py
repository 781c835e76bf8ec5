"""A result drawn with matplotlib: its curve, its map, or its distribution, whatever texts and numbers are in it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import matplotlib
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.text import Text

import workbench.notebooks  # noqa: F401  # gives results their methods
from sessions import results
from sessions.errors import UsageError
from sessions.events import Value
from sessions.views import view
from sessions.views.blocks import AnyBlock, Bar, Bars, Curve, Heat, HeatScale, Line, Note
from sessions.views.plots import plot
from tests.samples import NASTY, samples

matplotlib.use("agg")
TEX = r"$\frac{$ cost_{x} $5$"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    pyplot.close("all")


def render(axes: Axes) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the font of matplotlib has no Chinese
        axes.figure.canvas.draw()


def texts(axes: Axes) -> list[str]:
    return [each.get_text() for each in axes.figure.findobj(Text)]  # type: ignore[call-arg, attr-defined]


def test_results_with_a_curve_a_map_or_a_distribution_can_be_drawn_and_others_say_what_they_can() -> None:
    drawn: set[type[Value]] = set()
    first = next(iter(NASTY.values()))
    for name, text in NASTY.items():
        of_text: set[type[Value]] = set()
        for value in samples(text):
            if text != first and type(value) in of_text:
                continue  # every sample is drawn with the first text, and one of each kind with the others
            of_text.add(type(value))
            if any(isinstance(block, Curve | Heat | Bars) for block in view(value)):
                axes = value.plot()
                if type(value) not in drawn or name == "escapes":
                    render(axes)
                drawn.add(type(value))
                pyplot.close("all")
            else:
                with pytest.raises(UsageError, match="no curve, map or distribution") as caught:
                    value.plot()
                assert caught.value.hint.startswith("to_")
    assert {
        results.Swept, results.SweptGrid, results.Faithfulness, results.Edges, results.InjectedByLayer,
        results.RoundTrained, results.RoundsShown, results.Compared, results.VectorsCompared,
    } <= drawn  # fmt: skip


def test_it_draws_on_the_axes_it_is_given_and_returns_them() -> None:
    _, (left, right) = pyplot.subplots(1, 2)
    value = next(value for value in samples("x") if isinstance(value, results.Swept))
    assert value.plot(right) is right
    assert right.lines and not left.lines
    with pytest.raises(UsageError, match="ax is of type str"):
        value.plot("left")  # type: ignore[arg-type]


def test_a_sweep_is_a_line_through_its_numbers_with_its_knee_marked() -> None:
    value = next(each for each in samples("x") if isinstance(each, results.Swept) and each.knee is not None)
    axes = value.plot()
    line, *marks = axes.lines
    expected = sorted((arm.multiplier, arm.target_probability) for arm in value.arms)
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == expected
    assert value.knee is not None
    flips = {flip.multiplier for flip in (value.knee.below, value.knee.above) if flip is not None}
    assert {x for mark in marks for x in mark.get_xdata()} == flips  # type: ignore[union-attr]
    assert axes.get_xlabel() == "multiplier" and axes.get_ylabel().startswith("p(")


@pytest.mark.parametrize(
    "block",
    [
        Curve(title=TEX, x=TEX, lines=(Line(name=TEX, points=((0, 1), (1, 2))), Line(name="_b", points=((0, 1),)))),
        Heat(title=TEX, rows=(TEX, "b"), columns=("x", TEX), cells=((1.0, None), (-1.0, 0.0))),
        Bars(title=TEX, names=(TEX, TEX), bars=(Bar(token=TEX, before=0.1, after=0.9, role="target"),)),
    ],
    ids=lambda block: type(block).__name__,
)
def test_a_dollar_is_a_dollar(block: AnyBlock) -> None:
    axes = plot((block,))
    render(axes)
    shown = [each for each in axes.figure.findobj(Text) if "$" in each.get_text()]  # type: ignore[call-arg, attr-defined]
    assert shown and not any(each.get_parse_math() for each in shown)
    if isinstance(block, Curve):
        assert " _b" in texts(axes)


@pytest.mark.parametrize(
    "block",
    [
        Curve(title="c", x="x", lines=()),
        Curve(title="c", x="x", lines=(Line(name="n", points=((0, None), (1, math.nan), (2, math.inf))),)),
        Heat(title="h", rows=("a",), columns=("b",), cells=((None,),)),
        Heat(title="h", rows=("a",), columns=("b", "c"), cells=((math.nan, math.inf),)),
        Heat(title="h", rows=("a",), columns=("b",), cells=((1.0,),), scale=HeatScale(start=1, end=1, names=("", ""))),
        Heat(title="h", rows=("a",), columns=("b",), cells=((1.0,),), scale=HeatScale(start=2, end=0, names=("", ""))),
        Bars(title="b", names=("one", "two"), bars=()),
        Bars(title="b", names=("one", "two"), bars=(Bar(token="x", before=math.nan, after=0.5),)),
    ],
)
def test_unknown_numbers_leave_a_gap(block: AnyBlock) -> None:
    render(plot((block,)))


def test_a_map_of_nothing_says_so_and_a_large_one_names_only_what_has_room() -> None:
    with pytest.raises(UsageError, match="is empty"):
        plot((Heat(title="h", rows=(), columns=(), cells=()),))
    names = tuple(f"layer {number}" for number in range(200))
    axes = plot((Note(text="n"), Heat(title="t " * 120, rows=names, columns=names, cells=((0.5,) * 200,) * 200)))
    render(axes)
    assert len(axes.get_yticks()) <= 32 and max(map(len, axes.get_title().split("\n"))) <= 90


def test_a_curve_goes_before_a_distribution() -> None:
    curve = Curve(title="loss", x="step", lines=(Line(name="loss", points=((1, 2.0), (2, 1.0))),))
    bars = Bars(title="next token", names=("a", "b"), bars=())
    assert plot((bars, curve)).get_xlabel() == "step"
