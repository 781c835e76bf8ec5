"""`faithfulness`: what a circuit keeps, on a file of prompts or on its own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from msgspec import structs
from rich.cells import cell_len
from rich.console import Console

from commands import run
from sessions.events import Progress, Result, from_json, to_json
from sessions.model.opening import OpenModel
from sessions.results import Faithfulness
from sessions.session import Session
from tests.commands.driving import failure, failure_in, result, unharmed
from workbench.rendering.outcomes import present

LINES = (
    '{"prompt": "the cat", "target": "a", "counterfactual": "b"}',
    '{"prompt": "the dog in the house", "target": "c", "counterfactual": "d"}',
    '{"prompt": "a hat", "target": "e", "counterfactual": "f"}',
)


@pytest.fixture
def keys() -> Path:
    path = Path("keys.jsonl")
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


def test_a_file_of_prompts(little: Session, keys: Path) -> None:
    found = result(little, f"faithfulness {keys} --sizes 5,10,500 --controls 2")
    assert isinstance(found, Faithfulness) and found.prompts == 3 and found.controls == 2
    assert [row.size for row in found.rows] == [5, 10, found.size]
    assert all(row.random_kept is not None for row in found.rows)
    assert found == result(little, f"faithfulness {keys} --sizes 5,10,500 --controls 2")
    other = result(little, f"faithfulness {keys} --sizes 5 --controls 2 --seed 7")
    assert other.rows[0].kept == pytest.approx(found.rows[0].kept, abs=1e-5)
    assert other.rows[0].random_kept != found.rows[0].random_kept


def test_all_neurons_of_a_model_keep_everything(little: Session, keys: Path) -> None:
    result(little, f"discover --prompts {keys} --top 144 --keep-universal --no-verify --keep-bos --reference zero")
    found = result(little, f"faithfulness {keys} --sizes 1 --controls 0")
    assert found.size == 144
    last = found.rows[-1]
    assert last.kept == pytest.approx(1, abs=1e-4) and last.left == pytest.approx(0, abs=1e-4)
    assert last.random_kept is None


def test_without_a_file_faithfulness_uses_the_circuits_own_prompt(little: Session) -> None:
    found = result(little, "faithfulness --sizes 5 --controls 0")
    assert found.prompts == 1
    assert found.whole == pytest.approx(little.found().target.value, abs=1e-4)


def test_or_its_own_prompts_which_is_said(little: Session, keys: Path) -> None:
    result(little, f"discover --prompts {keys} --top 8 --keep-universal --no-verify")
    found = result(little, "faithfulness --controls 0")
    assert found.prompts == 3
    assert any("found on" in note for note in found.notes)


def test_targets_that_are_not_predicted_are_named(little: Session, keys: Path) -> None:
    flipped = [line.replace('"target"', '"x"').replace('"counterfactual"', '"target"') for line in LINES]
    keys.write_text("\n".join((*LINES, *(line.replace('"x"', '"counterfactual"') for line in flipped))))
    notes = result(little, f"faithfulness {keys} --controls 0").notes
    assert any("of 6 targets are no likelier" in note for note in notes)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("faithfulness none.jsonl", "none.jsonl"),
        ("faithfulness empty.jsonl", "has no prompt in it"),
        ("faithfulness broken.jsonl", "line 2"),
        ("faithfulness --raw", "--raw is for a file"),
        ("faithfulness keys.jsonl --reference zero --means keys.jsonl", "--means does not go with"),
        ("faithfulness --sizes 5,x", "'x' is not a whole number"),
        ("faithfulness --sizes 0", "'0' is not a whole number"),
    ],
)
def test_faithfulness_that_cannot_be_measured_is_refused(little: Session, keys: Path, line: str, said: str) -> None:
    Path("empty.jsonl").touch()
    Path("broken.jsonl").write_text(f"{LINES[0]}\nnot json\n")
    with unharmed(little):
        assert said in failure(little, line).message


def test_a_mixture_of_experts_has_no_means(empty: Session, tiny_chat: OpenModel) -> None:
    empty.model = tiny_chat
    result(empty, "prompt the cat")
    result(empty, "discover a --top 5 --keep-universal --no-verify")
    with unharmed(empty):
        assert "mixture of experts" in failure(empty, "faithfulness").message


def test_with_those_first_that_help_the_same_neurons_come_in_another_order(little: Session, keys: Path) -> None:
    result(little, f"discover --prompts {keys} --top 30 --keep-universal --no-verify")
    as_found, helping = (
        result(little, f"faithfulness {keys} --sizes 8 --controls 0 --order {order}")
        for order in ("strongest", "helping")
    )
    assert helping.order == "helping"
    assert helping.rows[-1].kept == pytest.approx(as_found.rows[-1].kept, abs=1e-4)
    assert helping.rows[0].kept != pytest.approx(as_found.rows[0].kept, abs=1e-3)
    little.circuit = structs.replace(
        little.found(), neurons=tuple(structs.replace(each, attribution=None) for each in little.found().neurons)
    )
    with unharmed(little):
        assert "needs attributions" in failure(little, f"faithfulness {keys} --order helping").message


def test_means_can_be_those_of_other_prompts_or_zero(little: Session, keys: Path) -> None:
    Path("others.txt").write_text("the mat\nin the end\n", encoding="utf-8")
    ways = ("", " --means others.txt", " --reference zero")
    own, others, zero = (result(little, f"faithfulness {keys} --controls 0{way}") for way in ways)
    assert own.whole == others.whole == zero.whole
    assert len({each.none for each in (own, others, zero)}) == 3
    assert (own.held, others.held, zero.held) == (
        "its mean over these prompts",
        "its mean over the prompts in others.txt",
        "zero",
    )
    assert any("--means FILE takes others" in note for note in own.notes) and not others.notes[:-1]


def test_a_circuit_of_another_prompt_or_of_a_whole_text_says_what_to_do(little: Session) -> None:
    result(little, "discover abc --sequence --top 5 --keep-universal --no-verify")
    with unharmed(little):
        failed = failure(little, "faithfulness")
        assert "explains a whole text" in failed.message and "faithfulness keys.jsonl" in failed.hint


def test_faithfulness_stops_when_it_is_cancelled(little: Session, keys: Path) -> None:
    with unharmed(little):
        events = []
        for event in run(little, f"faithfulness {keys} --batch 1"):
            events.append(event)
            if isinstance(event, Progress) and event.label == "faithfulness":
                little.cancel.request()
        assert failure_in(events).error == "cancelled"
        little.cancel.clear()


@pytest.mark.parametrize("width", [80, 160])
def test_what_is_shown_fits_and_says_what_it_is_of(little: Session, keys: Path, width: int) -> None:
    found = result(little, f"faithfulness {keys}")
    assert from_json(to_json(Result(found))).value == found
    console = Console(width=width, file=io.StringIO())
    for part in present(found, width):
        console.print(part)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(cell_len(line) <= width for line in lines)
    heading = next(place for place, line in enumerate(lines) if line.startswith("size"))
    facts = " ".join(lines[:heading])
    assert "3 prompts" in facts and "held at its mean over these prompts" in facts and "mean of 3 draws" in facts
    sizes = [line.split()[0] for line in lines[heading + 1 :][: len(found.rows)]]
    assert sizes == [*(str(row.size) for row in found.rows[:-1]), "all"]
