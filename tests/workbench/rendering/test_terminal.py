"""Blocks in terminals of any width: nothing is wider than they are, and what names a row is whole."""

from __future__ import annotations

import io

import pytest
from msgspec import structs
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid

from sessions import results
from sessions.events import Value
from sessions.views import view
from sessions.views.blocks import NUMBERS, AnyBlock, ArmText, Column, Fact, Facts, Row, Table, Texts
from sessions.views.writing import written
from tests.samples import NASTY, samples
from tests.sessions.views.test_views import drawings, sample
from tests.workbench.test_lines import MOVES
from workbench.app.wrapping import strips
from workbench.rendering.tables import TableLayout, table
from workbench.rendering.terminal import DrawingArea, drawn

WIDTHS = [30, 40, 80, 160]


def lines(blocks: list[AnyBlock] | tuple[AnyBlock, ...], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    for part in drawn(blocks, DrawingArea(width, 0.2)):
        console.print(part)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("text", [" Austin", *NASTY.values()])
def test_every_view_fits_and_cannot_move_the_cursor(text: str, width: int) -> None:
    for blocks in [*map(view, samples(text)), drawings(text)]:
        shown = lines(blocks, width)
        assert all(cell_len(line) <= width for line in shown)
        assert not MOVES.search("\n".join(shown))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("text", [" Austin", NASTY["long"], NASTY["wide"]])
def test_names_and_numbers_of_key_columns_are_whole_at_every_width(text: str, width: int) -> None:
    for value in samples(text):
        for block in view(value):
            if isinstance(block, Table):
                whole(value, block, width)


def whole(value: Value, block: Table, width: int) -> None:
    (grid,) = (part for part in table(block, width) if isinstance(part, Grid))
    columns = [[str(cell) for cell in column.cells] for column in grid.columns]
    widths = [column.width for column in grid.columns]
    for at, column in enumerate(block.columns):
        cells = [written(row.cells[at], column) for row in block.rows]
        if column.drop is None and cells:
            place = next(n for n, each in enumerate(columns) if all(map(str.endswith, each, cells)))
            assert column.kind not in NUMBERS or max(map(cell_len, cells)) <= (widths[place] or 0), type(value)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_long_name_goes_on_in_the_next_line_and_no_digit_is_lost(width: int) -> None:
    name = "".join(f"{number:02}." for number in range(21))
    columns = (
        Column(key="name", title="name", kind="name"),
        Column(key="size", title="size", kind="number"),
        Column(key="text", title="text", drop=1),
    )
    block = Table(columns=columns, rows=(Row(cells=(name, 1234567, "word " * 40)),))
    shown = lines((block,), width)
    body = [line for line in shown[1:] if not line.startswith("no room")]
    assert any("1,234,567" in line for line in body)
    assert "".join(line.split(" ")[0] for line in body) == name


@pytest.mark.parametrize("width", [*range(20, 60, 4), 160])
def test_a_context_is_cut_on_both_sides_and_its_token_stays(width: int) -> None:
    columns = (Column(key="id", title="id", kind="index"), Column(key="context", title="", kind="context", drop=1))
    shown = lines((Table(columns=columns, rows=(Row(cells=(7, ("before " * 9, " Austin", " after" * 9))),)),), width)[1]
    assert "▸ Austin◂" in shown
    assert cell_len(shown) <= width and shown.count("…") == 2 * (width < 160)


def test_columns_go_in_their_order_and_those_with_the_same_number_together() -> None:
    columns = (
        Column(key="k", title="key", kind="name"),
        *(Column(key=f"c{n}", title=f"col{n}", kind="number", drop=drop) for n, drop in enumerate((3, 1, 2, 2))),
    )
    block = Table(columns=columns, rows=(Row(cells=("abc", 1111, 2222, 3333, 4444)),))
    heads = [lines((block,), width)[0].split() for width in (27, 26, 20, 9, 8)]
    assert heads == [
        ["key", "col0", "col1", "col2", "col3"],
        ["key", "col0", "col2", "col3"],
        ["key", "col0"],
        ["key", "col0"],
        ["key"],
    ]
    assert "no room for: col1" in lines((block,), 26)[-1]


def test_the_arm_of_an_evaluation_is_never_cut() -> None:
    for width in WIDTHS:
        shown = lines(view(sample(results.Evaluated)), width)
        assert any(line.startswith("✗ broken") for line in shown)
        assert any(line.startswith("base") for line in shown)


def test_the_sizes_and_rounds_of_a_table_are_whole_in_thirty_columns() -> None:
    shown = lines(view(structs.replace(sample(results.Faithfulness), areas=None)), 30)
    sizes = [line.split()[0] for line in shown if "+0.12" in line or "+1.05" in line]
    assert sizes == ["10", "all"]
    assert any(line.startswith("L24/N1005") for line in lines(view(sample(results.RecruitsShown)), 30))


def test_bars_stand_beside_their_numbers_only_where_there_is_room() -> None:
    faithful = view(sample(results.Faithfulness))
    assert any("█" in line for line in lines(faithful, 80))
    assert not any("█" in line for line in lines(faithful, 30))


def test_a_text_that_was_just_watched_is_drawn_as_its_facts_alone() -> None:
    said = (Texts(arms=(ArmText(facts=("3 tokens",), text="It is Austin."),), timed=True),)
    thought = (
        Texts(arms=(ArmText(facts=(), text="Four.", thought="Two and two.", streamed="<t>Two and two.</t>Four."),)),
    )

    def shown(blocks: tuple[AnyBlock, ...], streamed: str) -> list[str]:
        return [str(part) for part in drawn(blocks, DrawingArea(80, 0.5, streamed=streamed))]

    assert shown(said, "") == shown(said, "It is") == ["It is Austin.", "3 tokens · 0.50 s"]
    assert shown(said, "It is Austin.") == ["3 tokens · 0.50 s"]
    assert shown(thought, "Four.") == ["Two and two.", "", "Four."]
    assert shown(thought, "<t>Two and two.</t>Four.") == []
    both = Texts(arms=(said[0].arms[0],) * 2)
    assert "".join(shown((both,), "It is Austin.")).count("It is Austin.") == 2


def test_an_empty_text_says_so_though_nothing_was_watched() -> None:
    assert lines((Texts(arms=(ArmText(facts=(), text=""),)),), 40) == ["(empty)"]


def test_short_rows_stand_abreast_where_there_is_room_and_are_read_downwards() -> None:
    columns = (Column(key="at", title="at", kind="index"), Column(key="token", title="token", kind="token", drop=1))
    block = Table(columns=columns, rows=tuple(Row(cells=(at, f"t{at}")) for at in range(5)), abreast=True)
    assert lines((block,), 25) == ["at token   at token", ' 0 "t0"     3 "t3"', ' 1 "t1"     4 "t4"', ' 2 "t2"']
    assert len(lines((block,), 12)) == 6


def test_facts_under_titles_stand_in_line_below_them() -> None:
    listed = [
        Facts(title=title, items=tuple(Fact(f"about {name}", name) for name in names))
        for title, names in (("One", ("a", "bcd")), ("Two", ("longer",)))
    ]
    assert lines(listed, 60) == ["One", "  a       about a", "  bcd     about bcd", "", "Two", "  longer  about longer"]  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [30, 40, 80, 160])
@pytest.mark.parametrize("text", [" Austin", *NASTY.values()])
def test_a_row_drawn_by_itself_is_that_of_the_table(text: str, width: int) -> None:
    seen = 0
    for block in (block for value in samples(text) for block in view(value) if isinstance(block, Table)):
        layout = TableLayout(block, width)
        for number in range(len(block.rows)):
            line = layout.line(number)
            if line is not None:
                seen += 1
                drawn_alone = strips(layout.grid([number]), width)
                assert [line.rstrip()] == [each.text.rstrip() for each in drawn_alone]
    assert seen > 20
