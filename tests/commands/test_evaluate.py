"""`evaluate`: tasks with and without the edits, side by side, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from commands.completing import complete
from sessions.edits.edit import Edit, Neurons
from sessions.evaluation.scores import TaskReply
from sessions.events import Progress
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.session import Session
from sessions.views import view
from sessions.views.blocks import Table
from sessions.views.plain import to_rows
from tests.commands.driving import events_of, failure, failure_in, result, unharmed
from tests.families import tiny, tiny_tokenizer
from tests.sessions.evaluation.test_running import bits

TASKS: list[dict[str, Any]] = [
    {"prompt": "What is the capital of France?", "answer": "Paris"},
    {"prompt": "What is the capital of Japan?", "answer": "Tokyo", "name": "japan"},
    {"prompt": "What is the capital of Texas?", "answer": "Austin"},
    {"prompt": "What is 2 + 2?", "answer": 4},
    {"prompt": "What is 3 + 4? Answer with the number.", "answer": "7.0", "seed": "The answer is"},
    {"prompt": "Say hello.", "answer": "(?i)hel+o", "check": "regex"},
    {"prompt": "¿Cuál es la capital de Francia?", "answer": "París", "language": "es"},
]
LITTLE: list[dict[str, Any]] = [
    {"prompt": prompt, "answer": "[aeiou]", "check": "regex"} for prompt in ("the cat", "a hen sat on", "in the end")
]


def write(tasks: list[dict[str, Any]], name: str = "tasks.jsonl") -> Path:
    path = Path(name)
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks), encoding="utf-8")
    return path


def kept(path: str) -> list[TaskReply]:
    return [msgspec.json.decode(line, type=TaskReply) for line in Path(path).read_bytes().splitlines()]


def noise(session: Session, name: str, layer: int, count: int, scale: float) -> None:
    """An edit that overwrites what neurons of a layer write with noise."""
    width = session.opened().info.d_model
    values = scale * torch.randn(count, width, generator=torch.Generator().manual_seed(1))
    change = Neurons(layer, "down", tuple(range(count)), values)
    session.take_edit(Edit("test", "noise", (change,)), name, "test")


@pytest.fixture
def little(little: Session) -> Session:
    """A session with a tiny model, in a folder with three tasks."""
    write(LITTLE)
    return little


@pytest.fixture
def smol(home: Path, smollm2: OpenModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write(TASKS)
    Path("unrelated.txt").write_text("The harbour was quiet that morning.\n\nNobody had expected the ferry so early.")
    session = Session(home)
    session.use_model(smollm2)
    yield session
    session.close()


# ---- on a real model


def test_a_model_is_scored_and_its_texts_are_kept(smol: Session) -> None:
    found = result(smol, "evaluate tasks.jsonl --max-tokens 12 --unrelated unrelated.txt")
    (score,) = found.scores
    assert (score.name, score.tasks, found.pairs) == ("base", 7, ())
    replies = kept(found.kept)
    right = {reply.task for reply in replies if reply.right}
    assert {1, 2, 3, 4} <= right and score.right == len(right) and not score.broken
    france = replies[0]
    assert (france.text, france.at, france.kept, france.answer) == ("The capital of France is Paris.", 5, True, "Paris")
    assert score.interval[0] < score.accuracy < score.interval[1]
    assert 100 < score.perplexity < 1000 and score.ratio is None and found.unrelated == 13
    assert {(row.language, row.tasks) for row in found.languages} == {("en", 5), ("es", 1), ("latin", 1)}
    assert result(smol, "expect evaluate.accuracy >= 0.5").actual == f"{score.accuracy:.6g}"
    assert failure(smol, "expect evaluate.accuracy < 0.5").error == "expectation"
    assert "no difference" in failure(smol, "expect evaluate.difference > 0").message


def test_an_edit_that_breaks_the_model_is_named(smol: Session) -> None:
    clean = bits(smol.opened())
    noise(smol, "slight", 20, 1, 0.001)
    noise(smol, "broken", 12, 400, 3.0)
    edited = bits(smol.opened())
    options = "--arms base,slight,edit --limit 3 --max-tokens 8 --unrelated unrelated.txt"
    found = result(smol, f"evaluate tasks.jsonl {options}")
    base, slight, edit = found.scores
    assert not base.broken and not slight.broken and slight.ratio == pytest.approx(1, abs=0.02)
    assert edit.broken and edit.ratio > 3 and edit.right < base.right
    assert any(note.startswith("arm edit is broken: its perplexity on unrelated text is") for note in found.notes)
    pairs = found.pairs[1]
    assert pairs.names == ("base", "edit") and pairs.both + pairs.only_first == base.right
    assert pairs.lost == ("line 1", "japan", "line 3") and pairs.p == 0.25
    assert bits(smol.opened()) == edited
    assert result(smol, "expect evaluate.perplexity > 3") and result(smol, "expect evaluate.difference < 0")
    smol.edits().undo(2)
    assert bits(smol.opened()) == clean


# ---- arms


def test_with_an_edit_on_the_arms_are_with_and_without_it(little: Session) -> None:
    assert [score.name for score in result(little, "evaluate tasks.jsonl --unrelated none").scores] == ["base"]
    noise(little, "noise", 1, 3, 2.0)
    found = result(little, "evaluate tasks.jsonl --unrelated none")
    assert [(score.name, score.about) for score in found.scores] == [
        ("base", "as it was opened"),
        ("edit", "with noise"),
    ]
    assert all(score.perplexity is None and score.ratio is None for score in found.scores)
    little.close()


def test_first_answers_in_words_and_language_by_language_are_shown_by_arm(little: Session) -> None:
    tasks = [{"prompt": "the cat", "answer": ".", "check": "regex", "language": each} for each in ("en", "zh", "zh")]
    found = result(
        little, f"evaluate {write(tasks, 'two.jsonl')} --max-tokens 3 --unrelated none --arms base,base+base"
    )
    zh, en = found.languages
    assert (zh.language, en.language) == ("zh", "en")
    assert zh.first_answer_words == (0.0, 0.0) == zh.at and zh.right == (2, 2)
    assert found.scores[0].first_answer_words == 0.0
    assert kept(found.kept)[0].first_answer_words == 0
    (table,) = (block for block in view(found) if isinstance(block, Table) and block.title == "by language")
    rows = [(row["language"], row["arm"], row["right"], row["word"], row["token"]) for row in to_rows(table)]
    assert rows[0] == ("zh", found.scores[0].name, 2, 0.0, 0.0) and len(rows) == 4


def test_any_number_of_a_reply_is_a_check_of_tasks(little: Session) -> None:
    write([{"prompt": "the cat", "answer": "4", "check": "any-number"}], "any.jsonl")
    assert result(little, "evaluate any.jsonl --max-tokens 2 --unrelated none --arms base").tasks == 1
    write([{"prompt": "the cat", "answer": "four", "check": "any-number"}], "none.jsonl")
    assert "'four', which is not a number" in failure(little, "evaluate none.jsonl").message
    write([{"prompt": "the cat", "answer": "4", "check": "any-numbr"}], "wrong.jsonl")
    assert "any-number" in failure(little, "evaluate wrong.jsonl").hint


def test_arms_that_are_the_same_come_to_the_same(little: Session) -> None:
    found = result(little, "evaluate tasks.jsonl --arms base,edit,unsuppressed --unrelated none")
    for pairs in found.pairs:
        assert (pairs.only_first, pairs.only_second, pairs.difference, pairs.p) == (0, 0, 0, 1)
        assert pairs.both + pairs.neither == 3
    assert "no edit is on: base and edit are the same model" in found.notes and "nothing is suppressed" in found.notes
    texts = [[reply.text for reply in kept(found.kept)[arm::3]] for arm in range(3)]
    assert texts[0] == texts[1] == texts[2]


def test_what_is_suppressed_is_said_and_can_be_lifted(little: Session) -> None:
    little.suppressed = tuple(Unit(layer, index) for layer in range(3) for index in range(40))
    found = result(little, "evaluate tasks.jsonl --arms unsuppressed,base --unrelated none --keep texts.jsonl")
    assert any("suppressed" in note for note in found.notes)
    little.suppressed = ()
    free = result(little, "evaluate tasks.jsonl --unrelated none")
    assert [reply.text for reply in kept("texts.jsonl")[::2]] == [reply.text for reply in kept(free.kept)]


def test_the_guard_is_on_in_all_arms_where_one_pushes(little: Session) -> None:
    values = torch.zeros(1, little.opened().info.d_model)
    little.take_edit(Edit("test", "push", (Neurons(1, "down", (3,), values),), pushes=True), "push", "test")
    found = result(little, "evaluate tasks.jsonl --unrelated none")
    assert "the stutter guard is on in every arm" in found.notes
    assert all(score.guarded is not None for score in found.scores)
    assert result(little, "evaluate tasks.jsonl --arms base --unrelated none").scores[0].guarded is None
    little.close()


# ---- the file of texts


def test_texts_are_kept_under_names_of_their_own_or_the_one_that_is_given(little: Session) -> None:
    names = [Path(result(little, "evaluate tasks.jsonl --unrelated none").kept).name for _ in range(2)]
    assert names == ["tasks-1.jsonl", "tasks-2.jsonl"]
    found = result(little, "evaluate tasks.jsonl --unrelated none --keep texts.jsonl --limit 2")
    assert found.kept == "texts.jsonl" and "the first 2 of 3 tasks" in found.notes
    assert [(reply.task, reply.arm) for reply in kept("texts.jsonl")] == [(1, "base"), (2, "base")]
    with unharmed(little):
        assert "exists already" in failure(little, "evaluate tasks.jsonl --keep texts.jsonl").message
    assert result(little, "evaluate tasks.jsonl --unrelated none --keep texts.jsonl --force").tasks == 3
    assert len(kept("texts.jsonl")) == 3


@pytest.mark.parametrize("keep", ["", " --keep texts.jsonl"])
def test_a_run_that_is_cancelled_keeps_what_was_finished_where_a_file_was_named(little: Session, keep: str) -> None:
    from commands import run

    noise(little, "noise", 1, 3, 2.0)
    edited, reading, events = bits(little.opened()), little.last_output, []
    for event in run(little, f"evaluate tasks.jsonl --batch 1 --unrelated none{keep}"):
        events.append(event)
        if isinstance(event, Progress) and event.label == "edit: answering" and event.done > len(LITTLE) + 1:
            little.cancel.request()
    failed = failure_in(events)
    assert failed.error == "cancelled" and little.last_output is reading
    assert bits(little.opened()) == edited
    assert Path("texts.jsonl").exists() == bool(keep) and not (little.home / "evaluations").exists()
    if keep:
        assert [(reply.arm, reply.task) for reply in kept("texts.jsonl")][3:] == [("edit", kept("texts.jsonl")[3].task)]
        assert failed.hint == "4 texts that were finished are in texts.jsonl"
    little.close()


# ---- bad input


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("nothing.jsonl", "cannot read nothing.jsonl", "a file of tasks"),
        ("empty.jsonl", "empty.jsonl has no task in it", "prompt"),
        ("malformed.jsonl", "malformed.jsonl, line 2, is malformed", ""),
        ("unknown.jsonl", "an unknown check 'numbre'", "did you mean number?"),
        ("broken.jsonl", "'(a', which is not a regular expression", "re"),
        ("tasks.jsonl --arms bse", "there is no arm 'bse'", "did you mean base?"),
        ("tasks.jsonl --arms noize", "there is no arm 'noize'", "did you mean noise?"),
        ("tasks.jsonl --arms 1,2", "there is no arm '2'", "one of: base, edit, unsuppressed, noise"),
        ("tasks.jsonl --arms base+", "there is no arm '' in 'base+'", "one of"),
        ("tasks.jsonl --arms base,base", "arm 'base' is named twice", "once"),
        ("tasks.jsonl --arms edit+1", "arm 'edit+1' adds to all edits that are on", "1+2"),
        ("tasks.jsonl --arms base,,edit", "an empty word", "x,y"),
        ("tasks.jsonl --unrelated none.txt", "there is no corpus 'none.txt'", "a file"),
        ("tasks.jsonl --keep .", "'.' is a folder", "texts.jsonl"),
        ("tasks.jsonl --keep tasks.jsonl --force", "is the file of tasks", "another"),
        ("tasks.jsonl --keep missing\0.jsonl", "null character", "results"),
    ],
)
def test_an_impossible_evaluation_is_refused_and_changes_nothing(
    little: Session, words: str, said: str, hint: str
) -> None:
    Path("empty.jsonl").write_text("\n\n")
    Path("malformed.jsonl").write_text('{"prompt": "a", "answer": "1"}\n{"prompt": "b", \n')
    write([{"prompt": "a", "answer": "1", "check": "numbre"}], "unknown.jsonl")
    write([{"prompt": "a", "answer": "(a", "check": "regex"}], "broken.jsonl")
    noise(little, "noise", 1, 3, 2.0)
    edited = bits(little.opened())
    with unharmed(little):
        failed = failure(little, f"evaluate {words}")
    assert said in failed.message and hint in failed.hint and failed.error != "defect"
    assert bits(little.opened()) == edited and not (little.home / "evaluations").exists()
    little.close()


def test_a_reply_that_does_not_fit_into_the_model_is_refused(little: Session) -> None:
    little.use_model(adopt(tiny("gpt2"), tiny_tokenizer(), name="gpt2"))
    with unharmed(little):
        failed = failure(little, "evaluate tasks.jsonl --unrelated none --max-tokens 127")
    assert "tasks.jsonl, line 1: its prompt has" in failed.message and "128 positions" in failed.message
    assert result(little, f"evaluate tasks.jsonl --unrelated none --limit 1 {failed.hint}").tasks == 1


def test_without_a_model_or_an_evaluation_the_way_out_is_named(empty: Session, little: Session) -> None:
    assert "evaluate tasks.jsonl" in failure(little, "expect evaluate.p < 0.05").hint
    little.model = None
    assert failure(little, "evaluate tasks.jsonl").message == "no model is open"


def test_an_expression_that_does_not_end_is_said_and_counts_as_wrong(little: Session) -> None:
    """This one would try all ways to cut the reply into ones and twos."""
    write([{"prompt": "a", "answer": r"(?s)(.|..)+\Z.", "check": "regex"}])
    found = result(little, "evaluate tasks.jsonl --max-tokens 60 --unrelated none --keep texts.jsonl")
    (reply,) = kept("texts.jsonl")
    assert len(reply.text) > 40 and not reply.right
    assert found.notes == ("a regular expression took over a second on a reply, which counts as wrong: line 1",)


def test_arms_are_completed_one_after_another(little: Session) -> None:
    noise(little, "noise", 1, 3, 2.0)
    offered = [completion.text for completion in complete("evaluate tasks.jsonl --arms base,", session=little)]
    assert offered == ["base,edit", "base,unsuppressed", "base,noise"]
    little.close()


def test_every_event_of_an_evaluation_is_progress_until_its_result(little: Session) -> None:
    events = events_of(little, "evaluate tasks.jsonl --unrelated none")
    assert {type(event).__name__ for event in events} == {"Started", "Progress", "Result"}
