"""Maps in terminals of any width: every column is seen, and a shade says how far a number is."""

from __future__ import annotations

import math

from sessions.views.blocks import Heat, HeatScale
from sessions.views.html import to_html
from tests.workbench.rendering.test_terminal import lines


def heat(*cells: float | None, rows: int = 1, scale: HeatScale | None = None) -> Heat:
    names = tuple(str(number) for number in range(len(cells)))
    return Heat(title="map", rows=("L1", "L2")[:rows], columns=names, cells=(cells,) * rows, scale=scale)


def test_shades_are_of_the_size_of_a_number_whatever_its_sign() -> None:
    title, row, axis = lines((heat(-2.0, 0.5, None, 0.0),), 60)
    assert title == "map · █ ≥ 1.00 · ▓ ≥ 0.40 · ▒ ≥ 0.10 · ░ ≥ 0.01"
    assert row == "L1 │██▓▓  ··"
    assert axis == "    0 1 2 3"


def test_shades_on_a_scale_say_how_far_a_number_is_from_its_start_to_its_end() -> None:
    scale = HeatScale(start=3.0, end=1.0, names=("the text", "the source"))
    block = heat(1.0, 2.0, 3.0, 4.0, math.nan, scale=scale)
    shown = lines((block,), 80)
    assert "map · shades: part of the way from the text to the source" in shown[0]
    assert shown[-2] == "L1 │██▒▒··  ??"
    page = to_html((block,))
    assert "shades: part of the way from the text to the source" in page
    assert [page.count(f"--part:{part}%") for part in (100, 50, 0)] == [1, 1, 2]


def test_columns_get_narrow_and_then_neighbours_are_drawn_as_one() -> None:
    wide, narrow = (lines((heat(*[1.0] * 20, 100.0, *[1.0] * 19),), width) for width in (60, 24))
    assert wide[1] == "L1 │" + "░" * 20 + "█" + "░" * 19
    assert wide[2].split()[:3] == ["0", "2", "4"]
    assert "2 columns are drawn as one, with their strongest shade" in " ".join(narrow)
    assert next(line for line in narrow if line.startswith("L1")) == "L1 │" + "░" * 10 + "█" + "░" * 9
