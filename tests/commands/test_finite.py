"""No verb shows a number that is none: it fails, and says where the numbers ended."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest

from commands import run
from sessions.events import Failed, Result
from sessions.files.json_text import infinite
from sessions.model.opening import adopt
from sessions.session import Session
from tests.commands.driving import failure, result
from tests.families import tiny_tokenizer

#: Verbs that read the model; what some of them need is there.
READING = [
    "top 3", 'prob " a"', "generate", "discover a --top 5 --keep-universal", "verify top3", "neuron top1 --no-verify",
    "edges top5", "ablate top3", "arms untouched 'ablate top3'", "sweep top3 0 1", "capture other --at cat --layer 2",
    "inject state --into the --at the --raw --max-tokens 2", "inject state --into the --at the --raw --layers all",
    "vector new up.txt down.txt", "contrast up.txt down.txt", "atlas build small --corpus up.txt",
    "verify top3 --reference mean", "discover --prompts up.txt --top 5 --keep-universal", "faithfulness up.txt",
    "surgery --layers 1-2 --tokens ' c' --keep",
]  # fmt: skip


@pytest.fixture
def damaged(little: Session) -> Session:
    """The session with a captured state, and a model whose layer 1 then writes a number that is none."""
    Path("up.txt").write_text("the cat\na hat\n")
    Path("down.txt").write_text("the dog\na mat\n")
    result(little, "capture state --at cat --layer 1")
    model = copy.deepcopy(little.opened().model)
    model.model.layers[1].mlp.down_proj.weight.data[3, 5] = math.nan
    little.model = adopt(model, tiny_tokenizer(), name="tiny", fingerprint=little.opened().info.fingerprint)
    return little


@pytest.mark.parametrize("line", READING)
def test_what_a_damaged_weight_leaves_of_the_numbers_is_never_a_result(damaged: Session, line: str) -> None:
    last = list(run(damaged, line))
    outcome = next(event for event in last if isinstance(event, Result | Failed))
    if isinstance(outcome, Result):  # some go on with arms or parts that are sound, and say which are not
        assert infinite(outcome.value) == ""
    else:
        assert "layer 1 is the first to compute no number, at token 0, '<s>'" in outcome.message
        assert outcome.hint == (
            "its mlp.down_proj.weight holds numbers that are not finite: open a sound copy of the model"
        )


def test_an_expectation_of_such_a_number_fails(damaged: Session) -> None:
    failure(damaged, "top 3")
    failure(damaged, 'expect prob " a" >= 0')
    failure(damaged, "expect top = a")


def test_numbers_that_are_large_and_still_numbers_are_shown(little: Session) -> None:
    """The norm of a state of 1e38 is one; its square in float32 is none."""
    result(little, "shift top5 1e37 --live")
    state = result(little, "capture loud --at cat --layer 2")
    assert 1e36 < state.directions[0].norm < 1e39


def test_an_injection_that_is_too_strong_names_the_layer_and_the_arm(little: Session) -> None:
    result(little, "capture state --at cat --layer 1")
    strong = "inject state --into the --at the --raw --scale 9e5 --max-tokens 2"
    assert infinite(result(little, strong)) == ""
    result(little, "shift top5 1e37 --live")
    result(little, "capture loud --at cat --layer 2")
    result(little, "release all")
    failed = failure(little, "inject loud --into the --at the --raw --scale 100 --max-tokens 2")
    assert "is the first to compute no number" in failed.message and "of the text injected" in failed.message


def test_a_result_that_holds_no_number_after_all_fails_by_the_name_of_its_field(
    little: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sessions.directions import vector

    monkeypatch.setattr(vector, "length", lambda _: math.inf)
    monkeypatch.setattr("sessions.directions.decomposing.length", lambda _: math.inf)
    failed = failure(little, "capture state --at cat --layer 1")
    assert failed.message == "the result holds a number that is not finite: directions[0].norm is inf"
