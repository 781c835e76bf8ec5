"""What a view is: blocks that are data, tell what their rows stand for, and read as HTML and as plain rows."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from sessions import results
from sessions.errors import UsageError
from sessions.events import Result, from_json, to_json
from sessions.model.units import Unit
from sessions.views import view
from sessions.views.blocks import (
    AnyBlock,
    Branch,
    Column,
    Curve,
    Fact,
    Facts,
    Graph,
    Heat,
    Line,
    Link,
    Note,
    Row,
    Table,
    Tree,
)
from sessions.views.html import to_html, to_page
from sessions.views.plain import main_table, tables, to_csv, to_dict, to_rows
from sessions.views.writing import written
from tests.samples import NASTY, kinds, samples

SCRIPT = "<script>alert(1)</script> & \"quotes\" 'too'"


def drawings(text: str) -> list[AnyBlock]:
    """A block of each kind that is drawn, with `text` in all that is said."""
    return [
        Heat(title=text, rows=(text, "L1"), columns=("0", text), cells=((0.5, None), (-2.0, 0.0))),
        Tree(title=text, branches=(Branch(depth=0, text=text), Branch(depth=1, text=text))),
        Graph(
            title=text, layers=((text, "b"), ("out",)),
            links=(Link(source=text, target="out", weight=1.5), Link(source="b", target="out", weight=-0.2)),
        ),
        Curve(title=text, x="step", lines=(
            Line(name=text, points=((1, 4.0), (2, None), (3, 1.0))), Line(name="b", points=((1, float("nan")),)),
        )),
        Facts(items=(Fact(text), Fact(text, text))),
        Note(text=text, verdict=text),
        Note(text=text, role="remark"),
    ]  # fmt: skip


def sample(kind: type) -> Any:
    return next(value for value in samples(" Austin") if type(value) is kind)


def test_every_kind_of_result_has_a_view() -> None:
    seen = {type(value) for value in samples("x") if isinstance(view(value), tuple)}
    assert seen == set(kinds())


@pytest.mark.parametrize("text", [" Austin", "", NASTY["wide"], NASTY["markup"]])
def test_blocks_turn_into_json_and_back(text: str) -> None:
    for value in samples(text):
        blocks = view(value)
        encoded = msgspec.json.encode(blocks)
        again = msgspec.json.decode(encoded, type=tuple[AnyBlock, ...])
        assert msgspec.json.encode(again) == encoded, type(value).__name__  # numbers that are none become null
        if b"null" not in encoded:
            assert again == blocks


def test_every_row_has_a_cell_for_every_column_and_keys_are_told_apart() -> None:
    for value in samples(" Austin"):
        for block in view(value):
            if isinstance(block, Table):
                keys = [column.key for column in block.columns]
                assert len(set(keys)) == len(keys), type(value).__name__
                assert any(column.drop is None for column in block.columns), type(value).__name__
                assert all(len(row.cells) == len(keys) for row in block.rows), type(value).__name__


def test_a_row_of_a_neuron_names_it_as_one_types_it() -> None:
    found = sample(results.NeuronTable)
    rows = main_table(view(found)).rows
    names = [row.stands_for.name for row in rows if row.stands_for is not None]
    assert [Unit.parse(name).place for name in names] == [row.neuron.place for row in found.rows]
    ledger = main_table(view(sample(results.EditsShown)))
    assert [row.stands_for.kind for row in ledger.rows if row.stands_for] == ["edit", "edit"]


def test_notes_are_remarks_below_the_result() -> None:
    last = view(sample(results.WorkingSet))[-1]
    assert last == Note(text=" Austin", role="remark")


def test_views_and_their_renderers_import_no_torch() -> None:
    program = "import sys, sessions.views.html, sessions.views.plain, workbench.rendering.terminal; "
    program += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


# HTML


class Balance(HTMLParser):
    """Counts what is open, and remembers every attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Balance:
    balance = Balance()
    balance.feed(page)
    balance.close()
    assert not balance.open
    return balance


@pytest.mark.parametrize("text", [SCRIPT, *NASTY.values()])
def test_html_shows_every_text_and_runs_none(text: str) -> None:
    for page in [*(to_html(view(value)) for value in samples(text)), to_html(drawings(text))]:
        balance = read(page)
        assert not balance.seen & {"script", "link", "img", "iframe", "a", "red"}
        assert not balance.attributes & {"href", "src", "onclick", "onerror", "onload"}
        page.encode()
    assert SCRIPT in read(to_html(drawings(SCRIPT))).text


def test_html_fetches_nothing() -> None:
    for page in [*(to_html(view(value)) for value in samples(" Austin")), to_html(drawings(" Austin"))]:
        style, _, body = page.partition("</style>")
        markup = style + "".join(re.findall("<[^>]*>", body))  # an address that is only read fetches nothing
        assert not any(word in markup for word in ("http", "url(", "@import", "//"))
        assert "prefers-color-scheme:dark" in page and ".wb-dark" in page


def test_a_page_declares_its_encoding_and_can_be_read_on_light_and_dark() -> None:
    page = to_page(view(sample(results.NeuronTable)), SCRIPT)
    balance = read(page.replace("<!doctype html>", "").replace('"utf-8">', '"utf-8"/>').replace('-width">', '-width"/>')
                   .replace('light dark">', 'light dark"/>'))  # fmt: skip
    assert "charset" in balance.attributes and SCRIPT in balance.text and "script" not in balance.seen
    for ink in ("--wb-ink", "--wb-back"):
        assert page.count(f"{ink}:#") == 4  # by preference, and where the page says so
    assert "background:var(--wb-back)" in page


def test_html_has_every_number_that_the_blocks_have() -> None:
    for value in samples(" Austin"):
        text = read(to_html(view(value))).text
        for block in view(value):
            for row in block.rows if isinstance(block, Table) else ():
                for column, cell in zip(block.columns, row.cells, strict=True):  # type: ignore[union-attr]
                    assert written(cell, column) in text


# Plain data


def test_rows_keep_their_numbers_unrounded() -> None:
    table = main_table(view(sample(results.NeuronTable)))
    first = to_rows(table)[0]
    assert (first["layer"], first["index"], first["attribution"]) == (24, 1005, 1.5234)
    assert first["up"] == (" Austin", " Austin", " Texas")
    assert to_dict(table)["layer"] == [24, 3, 0, 29]


def test_csv_reads_back_as_it_was_written() -> None:
    for text in NASTY.values():
        for value in samples(text):
            for table in tables(view(value)):
                read_back = list(csv.reader(io.StringIO(to_csv(table), newline="")))
                assert read_back[0] == [column.key for column in table.columns]
                assert all(len(row) == len(table.columns) for row in read_back if row)


def test_a_distribution_is_a_table_too() -> None:
    rows = [to_rows(table) for table in tables(view(sample(results.Compared)))]
    assert rows[-1][0] == {
        "token": " Austin", "before": 0.6123, "after": 0.0002, "change": pytest.approx(-0.6121), "role": "target",
    }  # fmt: skip


def test_a_result_without_a_table_says_so() -> None:
    with pytest.raises(UsageError, match="no table"):
        main_table(view(sample(results.Deleted)))


# In Python


def test_a_result_is_short_where_python_shows_it() -> None:
    for text in (" Austin", *NASTY.values()):
        for value in samples(text):
            assert len(repr(value)) <= 300
    assert repr(sample(results.Discovered)) == "Discovered(circuit=Circuit(4), candidates=1935360)"
    assert repr(sample(results.NeuronTable)) == "NeuronTable(circuit=Circuit(4), rows=<4 NeuronRow>, total=200)"


def test_how_a_result_is_shown_changes_neither_its_json_nor_what_it_equals() -> None:
    for value, same in zip(samples("x"), samples("x"), strict=True):
        assert to_json(Result(value)) == to_json(Result(same))
        if b"null" not in to_json(Result(value)):
            assert value == same and from_json(to_json(Result(value))).value == value  # type: ignore[union-attr]


# How numbers are written


@pytest.mark.parametrize(
    ("kind", "digits", "value", "text"),
    [
        ("number", None, 1200, "1,200"),
        ("index", None, 1200, "1200"),
        ("number", 3, 2e-4, "2e-04"),
        ("number", 1, 2.35e17, "2.35e+17"),
        ("signed", None, 1.5234, "+1.523"),
        ("share", None, 0.125, "12.5%"),
        ("share", 0, 0.125, "12%"),
        ("signed share", 0, -0.001, "+0%"),
        ("multiple", None, 0.5, "×0.5"),
        ("multiple", 3, 1.001, "×1.001"),
        ("token", None, " Austin", '" Austin"'),
        ("token", None, (" a", "b"), '" a" "b"'),
        ("context", None, (" of", " Austin", "\n"), " of▸ Austin◂\\n"),
        ("name", None, "a\nb", "a\\nb"),
        ("number", None, None, "–"),
        ("number", None, float("nan"), "–"),
    ],
)
def test_a_cell_is_written_as_its_column_says(kind: Any, digits: int | None, value: Any, text: str) -> None:
    column = Column(key="x", title="x", kind=kind, digits=digits)
    assert written(value, column) == text
    assert Row(cells=(value,)).cells[0] is value
