"""`faithfulness`: what a circuit keeps, on a file of prompts or on its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions.model.opening import OpenModel
from sessions.results import Faithfulness
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed

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


def test_without_a_file_it_is_the_circuits_own_prompt(little: Session) -> None:
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
def test_what_cannot_be_measured_is_refused(little: Session, keys: Path, line: str, said: str) -> None:
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
