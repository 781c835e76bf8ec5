"""A result as pandas frames: raw numbers under the keys of its tables, and names that verbs understand."""

from __future__ import annotations

import sys

import pandas
import pytest
from msgspec import structs

import workbench.notebooks  # noqa: F401  # gives results their methods
from sessions import results
from sessions.circuits.selection import terms
from sessions.errors import UsageError
from sessions.model.units import Unit
from sessions.views.blocks import Column, Row, StandsFor, Table
from sessions.views.plain import all_tables, chosen, name_of, to_pandas
from tests.samples import NASTY, samples


def sample(kind: type) -> results.Value:  # type: ignore[name-defined]
    return next(value for value in samples(" Austin") if type(value) is kind)


def test_every_table_of_every_result_is_a_frame_of_its_columns_and_rows() -> None:
    for text in NASTY.values():
        for value in samples(text):
            for number, table in enumerate(all_tables(value)):
                frame = value.to_pandas(number)
                keys = [column.key for column in table.columns]
                assert list(frame.columns)[-len(keys) :] == keys and len(frame) == len(table.rows)


def test_numbers_are_as_they_are_and_tokens_are_texts() -> None:
    frame = sample(results.NeuronTable).to_pandas()
    assert frame["attribution"][0] == 1.5234 and frame["share"].dtype == "float64"
    assert frame["layer"].dtype == "int64" and frame["position"][0] == 41
    assert frame["token"][0] == " Austin" and frame["up"][0] == (" Austin", " Austin", " Texas")
    kept = sample(results.Faithfulness).to_pandas()
    exact = [row.kept for row in sample(results.Faithfulness).rows]  # type: ignore[attr-defined]
    assert [None if pandas.isna(each) else each for each in kept["kept"]] == exact
    assert kept["size"].dtype == "int64"


def test_a_discovery_gives_all_its_neurons_not_the_ten_that_are_listed() -> None:
    few = sample(results.Discovered)
    assert isinstance(few, results.Discovered)
    neurons = tuple(Unit(1, number, 2, attribution=30.0 - number) for number in range(30))
    found = structs.replace(few, circuit=structs.replace(few.circuit, neurons=neurons))
    frame = found.to_pandas()
    assert list(frame["index"]) == list(range(30)) and len(found.to_text().splitlines()) < 30


def test_rows_are_named_by_what_verbs_select() -> None:
    frame = sample(results.Discovered).to_pandas()
    assert terms(",".join(frame["unit"]))
    assert sample(results.RoundsShown).to_pandas().columns[0] == "round"  # it has these names already
    table = Table(
        columns=(Column(key="unit", title=""), Column(key="x", title="", kind="number")),
        rows=(Row(cells=("MB", 1), stands_for=StandsFor("neuron", "L0/N1")), Row(cells=("MB", None))),
    )
    named = to_pandas(table)
    assert list(named.columns) == ["name", "unit", "x"] and named["name"][0] == "L0/N1" and named["name"].isna()[1]


@pytest.mark.parametrize(
    ("kind", "cells", "dtype"),
    [
        ("number", (), "float64"),
        ("number", (None, None), "float64"),
        ("index", (1, None), "Int64"),
        ("index", (1, 2), "int64"),
        ("signed", (1, 0.5, None), "float64"),
        ("share", (float("nan"), 1.0), "float64"),
        ("name", (3, None), "Int64"),
        ("token", (" a", "half \ud800 pair"), "object"),
        ("context", (("a", "b", "c"),), "object"),
        ("text", (), "object"),
    ],
)
def test_a_column_has_a_type_for_all_its_cells(kind: str, cells: tuple[object, ...], dtype: str) -> None:
    column = Column(key="x", title="x", kind=kind)  # type: ignore[arg-type]
    frame = to_pandas(Table(columns=(column,), rows=tuple(Row(cells=(cell,)) for cell in cells)))  # type: ignore[arg-type]
    assert frame["x"].dtype == dtype


def test_a_table_is_chosen_by_number_or_title() -> None:
    found = sample(results.RoundTrained)
    several = all_tables(found)
    assert chosen(several, None) is several[0] and chosen(several, -1) is several[-1]
    titled = next(table for table in several if table.title)
    assert chosen(several, titled.title) is titled and chosen(several, name_of(several[0])) is several[0]
    for wrong in (99, "nothing", "", True):
        with pytest.raises(UsageError, match="no table") as caught:
            found.to_pandas(wrong)
        assert titled.title[:20] in caught.value.hint


def test_a_result_without_a_table_says_so() -> None:
    with pytest.raises(UsageError, match="no table"):
        sample(results.Deleted).to_pandas()


def test_without_pandas_one_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"neuron-workbench\[notebook\]"):
        sample(results.Discovered).to_pandas()
