"""`rewrite`, as typed, on a tiny model: what it says, what it refuses, and that nothing stays after an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from commands.completing import complete
from commands.running import run
from sessions.events import Failed, Progress
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from tests.commands.driving import failure, failure_in, result, unharmed
from tests.families import tiny, tiny_tokenizer

REPLIES = ("in a hat. he is in.", "is at the door. it sits.", "no one. not i.", "in the end. at ten.", "it is so.")
LINE = 'rewrite L2/N7 --push " a" --when after:. --examples samples.jsonl --alpha 20'


@pytest.fixture
def ready(empty: Session) -> Session:
    """A session with a tiny model of its own, and a file of examples."""
    empty.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    lines = (json.dumps({"prompt": prompt, "reply": reply}) for prompt, reply in zip("abcde", REPLIES, strict=True))
    Path("samples.jsonl").write_text("\n".join(lines))
    Path("up.txt").write_text("the cat\na dog\na hen\n")
    Path("down.txt").write_text("it is\nin\nat ten\n")
    result(empty, "set max_tokens 4")
    return empty


def weights(session: Session) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in session.opened().model.state_dict().items()}


def same(session: Session, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weight, before[name]) for name, weight in session.opened().model.state_dict().items())


def test_a_neuron_is_rewritten_saved_and_undone(ready: Session) -> None:
    before = weights(ready)
    made = result(ready, LINE)
    assert (made.name, str(made.neuron), made.token.text, made.rule) == ("rewrite-1", "L2/N7", " a", 'after:"."')
    assert made.alpha == 20.0 and made.apart and made.learnt[0] + made.held[0] == 5
    assert not same(ready, before) and Path(made.path).is_file()
    assert [entry.edit.name for entry in ready.edits().entries] == ["rewrite-1"]
    edit, _ = ready.saved.read_edit("rewrite-1")
    assert edit.pushes and edit.facts["alpha"] == "20" and edit.facts["token"] == " a"
    assert {change.part for change in edit.changes} == {"gate", "up", "down"}
    result(ready, "undo")
    assert same(ready, before)


def test_the_line_that_is_kept_makes_the_same_edit(ready: Session) -> None:
    made = result(ready, f"{LINE} --as first")
    first, _ = ready.saved.read_edit("first")
    result(ready, "undo")
    header = next(row for row in result(ready, "list").rows if row.name == "first")
    result(ready, header.command.replace("--as first", "--as second"))
    second, _ = ready.saved.read_edit("second")
    assert made.rows[0].alpha == 20.0
    for ours, theirs in zip(first.changes, second.changes, strict=True):
        torch.testing.assert_close(ours.values, theirs.values)


def test_several_alphas_are_held_against_each_other(ready: Session) -> None:
    made = result(ready, LINE.replace("--alpha 20", "--alphas 40,1,10"))
    assert [row.alpha for row in made.rows] == [1.0, 10.0, 40.0]
    assert all(row.repetition is not None for row in made.rows)
    assert made.alpha == made.rows[made.chosen].alpha
    chances = [row.held.chance_where for row in made.rows]
    assert chances == sorted(chances)


def test_without_alpha_a_few_are_tried(ready: Session) -> None:
    made = result(ready, LINE.removesuffix(" --alpha 20"))
    alphas = [row.alpha for row in made.rows]
    assert alphas == sorted(alphas) and alphas[0] == pytest.approx(0.2 * made.norm, rel=0.01)


def test_prompts_can_say_where(ready: Session) -> None:
    made = result(ready, 'rewrite L1/N3 --push " a" --positive up.txt --negative down.txt --alpha 5')
    assert made.rule == "at the end of the prompts"
    assert (made.learnt, made.held) == ((4, 2, 2), (2, 1, 1))


def test_samples_can_be_held_out_by_name(ready: Session) -> None:
    Path("other.jsonl").write_text('{"prompt": "f", "reply": "so it is. so."}\n')
    made = result(ready, f"{LINE} --held-out other.jsonl")
    assert made.learnt[0] == 5 and made.held[:2] == (1, 2)


def test_a_quiet_neuron_is_given_up_where_none_is_named(ready: Session) -> None:
    made = result(ready, LINE.replace("L2/N7 ", ""))
    assert made.neuron.layer == 2  # of three layers, the late middle
    assert str(made.neuron) in made.notes[0] and "is used" in made.notes[0]
    result(ready, "undo")
    result(ready, "atlas build small --docs 4 --length 16")
    assert "atlas small" in result(ready, LINE.replace("L2/N7 ", "")).notes[0]


def test_a_brake_goes_with_it(ready: Session) -> None:
    made = result(ready, LINE.replace("L2/N7", "L1/N7") + " --brake L2/N9 --beta 30")
    assert str(made.brake.neuron) == "L2/N9" and made.brake.beta == 30.0
    assert len(ready.saved.read_edit(made.name)[0].changes) == 6


def test_a_sweep_over_the_neuron_is_one_over_alpha(ready: Session) -> None:
    """α is linear in the column, so the neuron at half its activation is the edit with half the α."""
    result(ready, "prompt the cat")
    result(ready, f"{LINE} --as whole")
    half = result(ready, 'prob " a"').chances[0].probability, result(ready, "ablate L2/N7").arms[1].next_tokens
    swept = result(ready, "sweep L2/N7 0 0.5 1").arms
    assert {chance.id: chance.probability for chance in swept[0].next_tokens}.items() >= {
        chance.id: pytest.approx(chance.probability, rel=1e-3) for chance in half[1][:5]
    }.items()
    result(ready, "undo")
    result(ready, LINE.replace("--alpha 20", "--alpha 10 --as half"))
    plain = result(ready, "generate").arm.next_tokens
    assert [chance.id for chance in swept[1].next_tokens[:4]] == [chance.id for chance in plain[:4]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('rewrite L2/N7 --push " abc" --when last', ["3 tokens", '" a" "b" "c"', '--push " a"']),
        (LINE.replace("after:.", "after:HAT"), ["matches no position in the 5 texts", '"'])
        ,
        ('rewrite L2/N7 --push " a"', ["--when"]),
        ("rewrite L2/N7", ["--push"]),
        ('rewrite L2/N7 --push " a" --when befor:x', ["did you mean before?"]),
        ("rewrite L2/N7 --push ' a' --when before:\" x", ["quote"]),
        ('rewrite L9/N7 --push " a" --when last', ["there is no layer 9"]),
        ('rewrite L2/N48 --push " a" --when last', ["layer 2 has no neuron 48"]),
        ('rewrite L2/N7,L2/N8 --push " a" --when last', ["2 neurons"]),
        ('rewrite L2/N7@3 --push " a" --when last', ["position"]),
        (f"{LINE} --brake L1/N4", ["not in a later layer"]),
        (f"{LINE} --brake L2/N4", ["not in a later layer"]),
        (f"{LINE} --brake L7/N4", ["there is no layer 7"]),
        (f"{LINE} --beta 3", ["--brake"]),
        (f"{LINE} --alphas 1,2", ["--alpha"]),
        (LINE.replace("20", "0"), ["above 0"]),
        (LINE.replace("--alpha 20", "--alphas 1,x"), ["above 0"]),
        (LINE.replace("samples", "nowhere"), ["nowhere.jsonl"]),
        (LINE.replace("samples", "broken"), ["broken.jsonl, line 2"]),
        (LINE.replace("samples", "fields"), ["line 1", "did you mean reply?"]),
        ('rewrite L2/N7 --push " a" --positive up.txt', ["--negative"]),
        ('rewrite L2/N7 --push " a" --when last --positive up.txt --negative down.txt', ["leave one of them out"]),
        ('rewrite L2/N7 --push " a" --positive up.txt --negative down.txt --examples samples.jsonl', ["--when last"]),
        ('rewrite L2/N7 --push " a" --positive up.txt --negative up.txt', ["the same as elsewhere"]),
    ],
)  # fmt: skip
def test_an_impossible_rewrite_is_reported_once_and_changes_nothing(ready: Session, line: str, said: list[str]) -> None:
    Path("broken.jsonl").write_text('{"prompt": "a", "reply": "b."}\n{"prompt": "a"\n')
    Path("fields.jsonl").write_text('{"prompt": "a", "repl": "b."}\n')
    before = weights(ready)
    with unharmed(ready):
        failed = failure(ready, line)
    assert failed.hint or failed.error == "artifact"
    assert all(each in f"{failed.message} {failed.hint}" for each in said), failed
    assert same(ready, before) and not ready.edits().entries and not ready.store.names("edit")


def test_a_name_that_is_taken_is_refused_before_anything_is_computed(ready: Session) -> None:
    result(ready, f"{LINE} --as here")
    assert "applied already" in failure(ready, f"{LINE} --as here").message
    result(ready, "undo")
    assert "--force" in failure(ready, f"{LINE} --as here").hint
    result(ready, f"{LINE} --as here --force")


def test_a_suppressed_neuron_cannot_be_taught(ready: Session) -> None:
    result(ready, "suppress L2/N7")
    assert "suppressed" in failure(ready, LINE).message
    result(ready, "release all")
    assert result(ready, LINE).firing.threshold == pytest.approx(0.5, abs=0.01)


def test_the_second_quiet_neuron_is_another_one(ready: Session) -> None:
    line = LINE.replace("L2/N7 ", "")
    assert result(ready, line).neuron != result(ready, line).neuron


def test_rewrite_without_a_model_is_refused(empty: Session) -> None:
    assert "no model is open" in failure(empty, LINE).message


def test_a_cancelled_rewrite_leaves_weights_and_store_alone(ready: Session) -> None:
    before, events = weights(ready), []
    for event in run(ready, LINE):
        events.append(event)
        if isinstance(event, Progress) and event.label.startswith("α"):
            ready.cancel.request()
    assert failure_in(events).error == "cancelled" and isinstance(events[-1], Failed)
    assert same(ready, before) and not ready.edits().entries and not ready.store.names("edit")


def test_rules_are_completed(tiny_llama: OpenModel) -> None:
    offered = [each.text for each in complete('rewrite L2/N7 --push " a" --when ')]
    assert offered[:2] == ["last", "after:."]
