"""What an agent gets of a result: a text as a terminal shows it, and data that fits into its memory."""

from __future__ import annotations

import json

import pytest
from msgspec import structs
from rich.cells import cell_len

from sessions.events import Failed, Result, to_json
from sessions.results import Discovered
from tests.samples import NASTY, samples
from workbench.agents.results import MOST, WIDTH, structured, text_of


@pytest.mark.parametrize("manner", NASTY)
def test_texts_have_100_columns_and_no_colours(manner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    for value in samples(NASTY[manner]):
        shown = text_of(Result(value, 1.0))
        assert "\x1b" not in shown
        assert all(cell_len(line) <= WIDTH for line in shown.split("\n"))
        shown.encode()


@pytest.mark.parametrize("manner", NASTY)
def test_data_is_the_json_of_the_result(manner: str) -> None:
    for value in samples(NASTY[manner]):
        data = structured(Result(value))
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
        if "shortened" not in data:
            assert data == json.loads(to_json(Result(value)))["value"]
        assert data["kind"] == type(value).__name__


def test_long_lists_are_cut_and_counted() -> None:
    found = next(value for value in samples("a") if isinstance(value, Discovered))
    neurons = (found.circuit.neurons * 1000)[:1000]
    data = structured(Result(structs.replace(found, circuit=structs.replace(found.circuit, neurons=neurons))))
    assert data["shortened"]["circuit.neurons"] == 1000
    assert data["circuit"]["neurons"][0] == json.loads(to_json(Result(found)))["value"]["circuit"]["neurons"][0]
    assert 5 <= len(data["circuit"]["neurons"]) < 1000
    assert len(json.dumps(data, ensure_ascii=False)) < 1.1 * MOST


def test_a_failure_says_what_to_do() -> None:
    failed = Failed("model", "no model is open", "open one: model smollm2", "some.wb:3")
    assert text_of(failed) == "✗ some.wb:3: no model is open\n→ open one: model smollm2"
    about = {"error": "model", "message": "no model is open", "hint": "open one: model smollm2", "where": "some.wb:3"}
    assert structured(failed) == about
    structured(Failed("usage", "there is no tool '\ud800'"))["message"].encode()
