"""`surgery`: a subspace cut out of the weights, and the problems it can be found with, as typed, on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import run
from commands.completing import complete
from sessions.events import Failed, Progress
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from sessions.texts.parallel import read_parallel
from tests.commands.driving import events_of, failure, failure_in, result, unharmed
from tests.families import tiny, tiny_tokenizer

LINES = """{"plain": "the cat sat", "loud": "see that cat sit!", "answer": 4}
{"plain": "a dog", "loud": "o what a dog"}
{"plain": "the end", "loud": "it ends here", "kind": "end"}
"""


@pytest.fixture
def ready(little: Session) -> Iterator[Session]:
    """The session with a file of three prompts in two versions; the weights get their bits back at its end."""
    Path("par.jsonl").write_text(LINES)
    yield little
    little.close()


def bits(session: Session) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in session.opened().model.state_dict().values()]


def same(session: Session, before: list[torch.Tensor]) -> bool:
    return all(torch.equal(now, was) for now, was in zip(bits(session), before, strict=True))


def names(session: Session) -> list[str]:
    return [edit.name for edit in session.edits().active]


def test_what_differs_between_versions_is_cut_and_told_layer_by_layer(ready: Session) -> None:
    before = bits(ready)
    found = result(ready, "surgery --layers 1-2 --dims 2 --parallel par.jsonl --attention")
    assert (found.name, found.versions, found.prompts, found.at) == ("surgery-1", ("plain", "loud"), 3, "mean")
    assert found.writers == ("down", "attn_out") and "par.jsonl" in found.what
    assert [(each.layer, each.dims, each.differing) for each in found.layers] == [(1, 2, 3), (2, 2, 3)]
    for each in found.layers:
        assert 0.3 < each.captured < 1 and 0 < each.down < 1 and 0 < each.attention < 1
        assert each.apart[0] > 0
    assert [arm.name for arm in found.arms] == ["without", "with"]
    assert result(ready, "generate").arm.text == found.arms[1].text
    assert found.arms[0].next_tokens != found.arms[1].next_tokens
    assert names(ready) == ["surgery-1"] and not same(ready, before)
    result(ready, "undo")
    assert same(ready, before)
    assert result(ready, "generate").arm.text == found.arms[0].text


def test_the_edit_is_saved_with_the_line_that_makes_it_again(ready: Session) -> None:
    result(ready, "surgery --layers 1 --dims 2 --parallel par.jsonl --at last --raw --keep --as only")
    after = bits(ready)
    saved, _ = ready.saved.read_edit("only")
    assert saved.facts["versions"] == "plain loud" and saved.facts["at"] == "last" and not saved.pushes
    assert saved.about.startswith("L1: nothing kept but 2 dims of what differs between 2 versions of 3 prompts")
    assert {change.keeps for change in saved.changes} == {True}  # type: ignore[union-attr]
    result(ready, "undo")
    header = ready.store.load("edit", "only", _Any)[0]
    assert header.command == "surgery cut --layers 1 --parallel par.jsonl --dims 2 --at last --raw --keep --as only"
    result(ready, header.command + " --force")
    assert same(ready, after)
    result(ready, "undo")  # and so does a line of before `surgery cut` was a verb of its own
    result(ready, "surgery --layers 1-1 --dims 2 --parallel par.jsonl --at last --keep --raw --as only --force")
    assert same(ready, after)


class _Any:
    @classmethod
    def unpacked(cls, contents: Any, source: str) -> _Any:
        return cls()


def test_the_last_token_and_the_mean_are_different_states(ready: Session) -> None:
    rows = []
    for at in ("last", "mean"):
        rows.append(result(ready, f"surgery --layers 1 --dims 1 --parallel par.jsonl --at {at}").layers[0])
        result(ready, "undo")
    assert rows[0] != rows[1]


def test_without_a_file_built_in_problems_are_read(ready: Session) -> None:
    result(ready, "set max_tokens 2")
    found = result(ready, "surgery --layers 0 --count 1 --seed 3")
    assert found.versions == ("zh", "en", "es", "ar", "ja", "ko", "sw") and found.prompts == 1
    assert found.layers[0].apart is None  # there is no other prompt to hold it against
    assert found.layers[0].dims == found.layers[0].differing <= 6


def test_tokens_and_vectors_are_subspaces_too(ready: Session) -> None:
    found = result(ready, 'surgery --layers 0-2 --tokens " a,b"')
    assert [each.dims for each in found.layers] == [2, 2, 2]
    assert "' a', 'b'" in found.what and found.versions == () and found.at == ""
    assert found.layers[0].captured is None and found.layers[0].apart is None
    result(ready, 'vector joy "the sun" "a fly" --layers 1-2')
    assert [each.dims for each in result(ready, "surgery --layers 1-2 --vector joy").layers] == [1, 1]
    assert names(ready) == ["surgery-1", "surgery-2"]


def test_without_a_prompt_there_is_no_reply_and_a_note(ready: Session) -> None:
    ready.prompt = None
    found = result(ready, 'surgery --layers 1 --tokens " a"')
    assert found.arms == () and any("no prompt" in note for note in found.notes)


@pytest.mark.parametrize(
    ("family", "biases", "said"),
    [("gemma2", False, "a norm stands between"), ("gpt2", True, "a bias"), ("mixtral", False, "")],
)
def test_a_norm_behind_the_writers_and_a_bias_are_said(ready: Session, family: str, biases: bool, said: str) -> None:
    ready.use_model(adopt(tiny(family, biases=biases), tiny_tokenizer(), name=family))
    notes = result(ready, "surgery --layers 1 --dims 1 --parallel par.jsonl").notes
    assert (said in " ".join(notes)) if said else not notes


def test_what_is_found_under_another_edit_is_what_the_model_holds_then(ready: Session) -> None:
    line = "surgery --layers 2 --dims 1 --parallel par.jsonl"
    alone = result(ready, line).layers[0]
    result(ready, "undo")
    result(ready, 'surgery --layers 0 --tokens " a,b,c,d" --keep')
    assert result(ready, line).layers[0] != alone


# ---- problems


def test_problems_are_written_to_be_read_again(ready: Session) -> None:
    made = result(ready, "surgery problems made.jsonl --count 12 --seed 5")
    read = read_parallel(Path("made.jsonl").read_bytes(), "made.jsonl")
    assert (made.lines, sum(made.kinds.values()), len(read.lines)) == (12, 12, 12)
    assert made.first["en"] == read.lines[0].texts[1] and made.answer == read.lines[0].answer
    assert "exists already" in failure(ready, "surgery problems made.jsonl").message
    again = result(ready, "surgery problems made.jsonl --count 12 --seed 6 --force")
    assert again.first != made.first


def test_problems_become_tasks(ready: Session) -> None:
    from sessions.evaluation.tasks import read_tasks

    made = result(ready, "surgery problems tasks.jsonl --count 3 --tasks en,sw")
    tasks = read_tasks(Path("tasks.jsonl").read_bytes(), "tasks.jsonl")
    assert (made.lines, made.tasks, len(tasks)) == (6, True, 6)
    assert [task.language for task in tasks] == ["en", "sw"] * 3
    assert result(ready, "surgery problems tasks.jsonl --count 3 --tasks all --force").lines == 21


# ---- bad input

OTHERS = {
    "one.jsonl": b'{"en": "the cat"}',
    "missing.jsonl": b'{"en": "a", "zh": "b"}\n\n{"en": "c"}',
    "empty.jsonl": b"\n",
    "latin.jsonl": b'{"en": "a", "es": "\xf1"}',
    "same.jsonl": b'{"en": "the cat", "es": "the cat"}',
}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("surgery", "surgery cut needs --layers"),
        ("surgery --layers 1-3 --parallel par.jsonl", "there is no layer 3"),
        ("surgery --layers 1 --parallel par.jsonl --dims 4", "differ in 3 dimensions at layer 1, fewer than 4"),
        ("surgery --layers 1 --parallel nowhere.jsonl", "nowhere.jsonl"),
        ("surgery --layers 1 --parallel one.jsonl", "one.jsonl, line 1 has only one version, 'en'"),
        ("surgery --layers 1 --parallel missing.jsonl", "missing.jsonl, line 3 has no version 'zh'"),
        ("surgery --layers 1 --parallel empty.jsonl", "has no prompt in it"),
        ("surgery --layers 1 --parallel latin.jsonl", "latin.jsonl is not UTF-8 text: line 1"),
        ("surgery --layers 1 --parallel same.jsonl", "the versions do not differ at layer 1"),
        ('surgery --layers 1 --tokens " cat"', "' cat' is 3 tokens: ' c' 'a' 't'"),
        ('surgery --layers 1 --tokens " a,,b"', "empty token"),
        ('surgery --layers 1 --tokens "a,a"', "there twice"),
        ("surgery --layers 1 --vector nobody", "nobody"),
        ("surgery --layers 0-2 --vector part", "no direction at layer 0"),
        ("surgery --layers 1 --vector wide", "d_model"),
        ('surgery --layers 1 --tokens " a" --vector part', "two subspaces"),
        ('surgery --layers 1 --tokens " a" --dims 3', "--dims is for versions"),
        ("surgery --layers 1 --parallel par.jsonl --count 3", "--count is for the built-in problems"),
        ("surgery --layers 1 --tasks en", "surgery cut has no option --tasks"),
        ("surgery --layers 1 --parallel par.jsonl --as taken", "exists already"),
        ("surgery --layers 1 --parallel par.jsonl --as a/b", "a/b"),
        ("surgery problems", "surgery problems needs a file"),
        ("surgery problems p.jsonl --layers 1", "surgery problems has no option --layers"),
        ("surgery problems p.jsonl --count 1001", "too many"),
        ("surgery problems p.jsonl --tasks en,xx", "unknown language 'xx'"),
        ("surgery problem p.jsonl", "surgery has no 'problem'"),
    ],
)
def test_wrong_surgery_lines_are_refused_and_change_nothing(ready: Session, line: str, said: str) -> None:
    from sessions.directions.vector import Vector
    from sessions.edits.edit import Edit, Projection

    for name, data in OTHERS.items():
        Path(name).write_bytes(data)
    info = ready.opened().info
    of = {"model": info.name, "fingerprint": info.fingerprint, "command": ""}
    ready.store.save("vector", "part", Vector("resid_post", dict.fromkeys((1, 2), torch.ones(32)), 1, 1), **of)
    ready.store.save("vector", "wide", Vector("resid_post", {1: torch.ones(33)}, 1, 1), **of)
    ready.take_edit(Edit("surgery", "", (Projection(2, "down", torch.eye(32)[:1]),)), "taken", "")
    ready.edits().undo()
    before, there = bits(ready), ready.store.names("edit")
    with unharmed(ready):
        failed = failure(ready, line)
    wanted = "33" if said == "d_model" else said
    assert wanted in failed.message and failed.hint
    assert same(ready, before) and ready.store.names("edit") == there and not names(ready)
    assert [edit.edit.name for edit in ready.edits().undone] == ["taken"]


def test_a_text_longer_than_the_context_is_named(ready: Session) -> None:
    ready.use_model(adopt(tiny("gpt2"), tiny_tokenizer(), name="short"))
    Path("long.jsonl").write_text('{"en": "a", "es": "b"}\n{"en": "' + "q " * 130 + '", "es": "b"}')
    with unharmed(ready):
        failed = failure(ready, "surgery --layers 1 --parallel long.jsonl")
    assert failed.message.startswith("long.jsonl, line 2, 'en': the text has") and not names(ready)


@pytest.mark.parametrize("stop", [1, 3, 5, 8])
def test_a_cancelled_cut_leaves_no_edit_and_no_hook(ready: Session, stop: int) -> None:
    before, events, seen = bits(ready), [], 0
    with unharmed(ready):
        for event in run(ready, "surgery --layers 0-2 --dims 2 --parallel par.jsonl"):
            events.append(event)
            seen += isinstance(event, Progress)
            if seen == stop:
                ready.cancel.request()
        assert failure_in(events).error == "cancelled"
    assert same(ready, before) and not names(ready) and not ready.store.names("edit")
    assert count_hooks(ready.opened().model) == 0


def test_closed_in_the_trial_it_gives_back_the_weights(ready: Session) -> None:
    before = bits(ready)
    steps = run(ready, "surgery --layers 0-2 --dims 2 --parallel par.jsonl")
    for event in steps:
        if isinstance(event, Progress) and event.label == "reading them again":
            assert not same(ready, before)
            break
    steps.close()
    assert same(ready, before) and count_hooks(ready.opened().model) == 0


def test_weights_in_bfloat16_are_cut_and_come_back(ready: Session) -> None:
    model = tiny("llama").to(torch.bfloat16)
    ready.use_model(adopt(model, tiny_tokenizer(), name="half"))
    before = bits(ready)
    found = result(ready, "surgery --layers 1-2 --dims 1 --parallel par.jsonl")
    assert not same(ready, before) and found.layers[0].down > 0
    result(ready, "undo")
    assert same(ready, before)


def test_words_of_surgery_are_completed(ready: Session, tiny_chat: OpenModel) -> None:
    def offered(line: str) -> list[str]:
        return [completion.text for completion in complete(line, session=ready)]

    assert offered("surgery ") == ["cut", "problems"] and offered("surgery pr") == ["problems"]
    assert "par.jsonl" in offered("surgery --layers 1 --parallel ")
    assert offered("surgery --at ") == ["mean", "last"]
    assert "all" in offered("surgery problems x.jsonl --tasks ")
    events = events_of(ready, "surgery --layers 1 --parallel par.jsonl --dims 0")
    assert isinstance(events[-1], Failed)
