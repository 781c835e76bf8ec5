"""Curves and graphs as SVG: every number has its place, and what is none leaves a gap."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sessions import results
from sessions.views import view
from sessions.views.blocks import Curve, Graph, Heat, Line, Link
from sessions.views.figures import curve, graph, ticks
from sessions.views.html import drawn
from tests.samples import samples

numbers = st.floats(allow_nan=True, allow_infinity=True)
places = st.floats(allow_nan=False, allow_infinity=False)


def drawn_numbers(svg: str) -> list[float]:
    """Every number in the coordinates of a drawing."""
    told = re.findall(r'(?:points|d|x|y|cx|cy|width|height|viewBox)="([^"]*)"', svg)
    return [float(number) for text in told for number in re.findall(r"-?(?:\d[\d.]*(?:e[+-]?\d+)?|nan|inf)", text)]


def line(*ys: float | None) -> Line:
    return Line(name="loss", points=tuple(enumerate(ys)))  # type: ignore[arg-type]


def test_a_gap_stands_where_there_is_no_number() -> None:
    ys = (*[1.0] * 30, None, 3.0, 2.0, math.nan, math.inf, 5.0)
    svg = curve(Curve(title="loss", x="step", lines=(line(*ys),)))
    assert svg.count("<polyline") == 2 and svg.count("<circle") == 1  # a number with gaps on both sides is a dot
    assert "(3 without a number)" in svg


def test_few_points_are_dots_too() -> None:
    svg = curve(Curve(title="loss", x="step", lines=(line(1.0, 2.0, 3.0),)))
    assert svg.count("<polyline") == 1 and svg.count("<circle") == 3


def test_a_curve_without_numbers_says_so() -> None:
    for ys in ((), (None,), (math.nan, math.inf)):
        assert curve(Curve(title="loss", x="step", lines=(line(*ys),))) == '<p class="wb-dim">loss: no numbers</p>'


@given(st.lists(st.tuples(places, st.none() | numbers), max_size=6))
def test_any_curve_is_drawn_within_its_frame(points: list[tuple[float, float | None]]) -> None:
    svg = curve(Curve(title="x", x="step", lines=(Line(name="a", points=tuple(points)),)))
    assert all(math.isfinite(number) and -1 <= number <= 641 for number in drawn_numbers(svg))


@given(places, places)
def test_ticks_are_few_rise_and_lie_within(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    found = ticks(low, high, 5)
    assert 1 <= len(found) <= 12 and found == sorted(found)
    slack = 1e-6 * max(abs(low), abs(high))
    assert all(low - slack <= each <= high + slack for each in found)


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 37, [0, 10, 20, 30]), (-2, 2, [-2, -1, 0, 1, 2])],
)
def test_ticks_are_round(low: float, high: float, found: list[float]) -> None:
    assert ticks(low, high, 5) == pytest.approx(found)


def test_several_lines_have_a_legend_and_differ_without_colour() -> None:
    lines = tuple(Line(name=name, points=((0, 1.0), (1, 2.0))) for name in "abc")
    svg = curve(Curve(title="loss", x="step", lines=lines))
    assert svg.count("wb-legend") == 1 and len(set(re.findall('stroke-dasharray="[^"]*"', svg))) == 2


# Graphs


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    told = re.findall(r'<rect x="([^"]*)" y="([^"]*)" width="([^"]*)" height="([^"]*)"', svg)
    return [(float(x), float(y), float(width), float(height)) for x, y, width, height in told]


names = st.text(max_size=12)


@given(
    st.lists(st.lists(names, max_size=5), max_size=4),
    st.lists(st.tuples(names, names, numbers), max_size=6),
    st.dictionaries(names, names, max_size=3),
)
def test_any_graph_is_drawn_and_no_node_covers_another(
    layers: list[list[str]], links: list[tuple[str, str, float]], notes: dict[str, str]
) -> None:
    flat = [name for layer in layers for name in layer]
    ends = {name: flat[hash(name) % len(flat)] for link in links for name in link[:2]} if flat else {}
    made = tuple(Link(source=ends.get(a, a), target=ends.get(b, b), weight=w) for a, b, w in links)
    svg = graph(Graph(title="g", layers=tuple(map(tuple, layers)), links=made, notes=notes))
    assert all(map(math.isfinite, drawn_numbers(svg)))
    found = boxes(svg)
    assert len(found) == len(flat)
    for at, (x, y, width, height) in enumerate(found):
        for other_x, other_y, other_width, _ in found[at + 1 :]:
            beside = x + width <= other_x + 1 or other_x + other_width <= x + 1
            assert beside or abs(y - other_y) >= height - 1


def test_a_wide_layer_is_set_in_several_rows() -> None:
    wide = tuple(f"L29/N{number}@41" for number in range(40))
    svg = graph(Graph(title="g", layers=(wide, ("output",)), links=(), names=("L29", "")))
    assert svg.count(">L29</text>") == 1
    assert max(x + width for x, _, width, _ in boxes(svg)) < 1100


def test_edges_are_wider_the_stronger_and_dashed_where_negative() -> None:
    links = (Link(source="a", target="c", weight=2.0), Link(source="b", target="c", weight=-1.0))
    svg = graph(Graph(title="g", layers=(("a", "b"), ("c",)), links=links))
    weak, strong = (re.search(f'<path [^>]*data-from="{number}"[^>]*>', svg)[0] for number in (1, 0))  # type: ignore[index]
    assert 'stroke-width="4.5"' in strong and "dasharray" not in strong
    assert 'stroke-width="2.5"' in weak and "dasharray" in weak and "wb-minus" in weak
    assert "<title>b → c -1.000</title>" in svg


def test_edges_of_a_circuit_are_a_graph_from_the_embeddings_to_the_output() -> None:
    edges = next(value for value in samples(" Austin") if isinstance(value, results.Edges) and len(value.edges) > 1)
    heavy = tuple(structs.replace(each, embeddings=9.0) for each in edges.inflows)
    for value, first in ((edges, ()), (structs.replace(edges, inflows=heavy), ("embeddings",))):
        (found,) = (block for block in view(value) if isinstance(block, Graph))
        named = [name for layer in found.layers for name in layer]
        assert found.layers[-1] == ("output",) and tuple(name for name in named if name == "embeddings") == first
        assert found.names == (*("" for _ in first), "L0", "L3", "L24", "")
        assert all({link.source, link.target} <= {*named} for link in found.links)
        assert [link.weight for link in found.links if link.source == "embeddings"] == [9.0] * 4 * len(first)
        assert found.notes["L24/N1005@41"] == " Austin" and "output" not in found.notes


# Maps


def test_a_narrow_map_has_its_numbers_and_a_wide_one_their_shades() -> None:
    def heat(columns: int) -> str:
        cells = ((0.5, None, math.nan, math.inf, *[-2.0] * (columns - 4)),)
        return drawn(Heat(title="m", rows=("L1",), columns=tuple(map(str, range(columns))), cells=cells))

    assert ">-2</td>" in heat(6) and "shades: size, up to 2" in heat(6)
    assert ">-2</td>" not in heat(40) and ">−</td>" in heat(40) and 'title="-2"' in heat(40)
    assert "nan" not in heat(6) and "inf" not in heat(6)
    assert "shades" not in drawn(Heat(title="m", rows=("a",), columns=("b",), cells=((None,),)))
