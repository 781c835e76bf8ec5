"""`train-round`, `rounds` and `compare`: losses, epochs and gradient of rounds, as a person types and sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console

from commands.completing import complete
from sessions.events import Result, Value, from_json, to_json
from sessions.model.opening import adopt
from sessions.results import RoundsCompared, RoundTrained
from sessions.session import Session
from tests.commands.driving import failure, result
from tests.families import tiny, tiny_tokenizer
from tests.rounds import FAST, kept, write_samples
from workbench.rendering.outcomes import present


@pytest.fixture
def ready(little: Session) -> Session:
    write_samples()
    return little


def printed(value: Value) -> str:
    console = Console(width=100, markup=False, emoji=False)
    with console.capture() as captured:
        for each in present(value, 100):
            console.print(each)
    return captured.get()


def test_weighted_and_plain_losses_epochs_and_gradient_are_shown_of_a_round(ready: Session) -> None:
    result(ready, "suppress L1/N4")
    found = result(ready, f"train-round samples.jsonl {FAST}")
    assert isinstance(found, RoundTrained)
    outcome, control = found.round.outcome, found.round.control
    assert control is not None and len(control.plain_final) == len(control.epochs) == 2 and control.gradient
    assert found.plain_loss == pytest.approx(sum(outcome.plain_final) / 2)
    assert found.loss == pytest.approx(sum(outcome.final) / 2)
    shown = printed(found)
    for number in (
        outcome.plain_initial[0],
        outcome.plain_final[1],
        outcome.epochs[1].losses[0],
        control.plain_final[0],
    ):
        assert f"{number:.3f}" in shown
    assert "plain, all tokens alike" in shown and "mean, plain" in shown
    for kind in outcome.gradient:
        assert kind in shown
    again = printed(result(ready, "rounds"))
    assert "plain, all tokens alike" in again and "loss in epoch" in again and "down_proj" in again


def test_where_every_token_counts_alike_there_is_one_table_of_losses(ready: Session) -> None:
    found = result(ready, f"train-round samples.jsonl {FAST} --weights ones")
    assert "--weights ones" in found.round.command
    assert found.plain_loss == pytest.approx(found.loss, rel=1e-5)
    assert "plain" not in printed(found)


def test_two_rounds_are_compared_by_losses_gradient_and_recruits(ready: Session) -> None:
    result(ready, f"train-round samples.jsonl {FAST} --as one --top 9")
    result(ready, f"train-round samples.jsonl {FAST} --as two --top 9 --modules down_proj,q_proj")
    found = result(ready, "compare round:one round:two")
    assert isinstance(found, RoundsCompared)
    both = found.comparison
    assert [row.sample for row in both.losses] == ["sample 1", "second", "mean"]
    assert all(None not in (*row.before, *row.after, *row.plain_before, *row.plain_after) for row in both.losses)
    assert {row.place: row.shares[1] is None for row in both.modules}["k_proj"]
    assert both.recruits == (9, 9) and both.cosine is not None and 0 < both.cosine < 1
    shown = printed(found)
    assert "q_proj" in shown and "recruits shared" in shown and "in layer" in shown
    kept(ready.store, ready.opened())
    other = result(ready, "compare round:one round:1")  # a number stands for the round of that number
    assert other.names == ("one", "round-1")
    assert [row.sample for row in other.comparison.losses] == ["mean"]
    assert "other samples" in other.notes[0] and "'round-1' does not have its gradient" in other.notes[1]
    assert "mean" in printed(other)


def test_a_round_is_compared_only_with_a_round_and_only_of_one_model(ready: Session) -> None:
    kept(ready.store, ready.opened(), "one")
    assert "another round" in failure(ready, "compare round:one current").message
    assert "another round" in failure(ready, "compare vector:joy round:one").message
    assert "no round 'none'" in failure(ready, "compare round:one round:none").message
    kept(ready.store, adopt(tiny("gpt2"), tiny_tokenizer(), name="gpt2"), "foreign")
    failed = failure(ready, "compare round:one round:foreign")
    assert "was trained on" in failed.message and "--force" in failed.hint
    forced = result(ready, "compare round:one round:foreign --force")
    assert "was trained on" in forced.notes[0] and forced.comparison.by_chance is None


def test_rounds_are_completed_where_they_can_be_compared(ready: Session) -> None:
    kept(ready.store, ready.opened(), "one")
    assert [found.text for found in complete("compare round:", session=ready)] == ["round:one"]


def test_results_that_an_earlier_workbench_wrote_down_are_read(ready: Session) -> None:
    """A journal's lines, without the fields that were not there then."""
    found = result(ready, f"train-round samples.jsonl {FAST} --as one")
    for value in (found, result(ready, "rounds one"), result(ready, "shift L1/N3 2 --max-tokens 2")):
        line = to_json(Result(value, 0.5))
        then = from_json(json.dumps(_without(json.loads(line))))
        assert isinstance(then, Result) and type(then.value) is type(value)
        assert printed(then.value)
    assert from_json(line) == Result(value, 0.5)


def _without(held: Any) -> Any:
    if isinstance(held, list):
        return [_without(each) for each in held]
    if isinstance(held, dict):
        return {key: _without(each) for key, each in held.items() if key not in NEW}
    return held


NEW = {"plain_initial", "plain_final", "plain_control", "epochs", "gradient", "losses", "plain_losses", "plain_loss",
       "parts"}  # fmt: skip
