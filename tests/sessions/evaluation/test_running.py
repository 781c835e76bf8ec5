"""What an arm's replies and losses are, on every family; what holds within an arm is gone behind it."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import nn

from sessions.edits.edit import Edit, Neurons
from sessions.errors import Cancelled, UsageError
from sessions.evaluation import running
from sessions.evaluation.arms import EvaluationArm, arms_of
from sessions.evaluation.checks import Check
from sessions.evaluation.running import EvaluationPlan, run
from sessions.evaluation.scores import TaskReply
from sessions.evaluation.tasks import Task
from sessions.evaluation.unrelated import loss_batches, mean_loss, predicted, summed_loss, unrelated
from sessions.events import Progress, collected, finished
from sessions.interventions.intervention import Intervention
from sessions.model.generation import Decoding
from sessions.model.hooks import count_hooks
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel, adopt
from sessions.model.pieces import Engine, WorkingModel, one_by_one
from sessions.model.tokens import encode
from sessions.model.units import Unit
from sessions.session import Session
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

PROMPTS = ("the cat sat", "a", "in the end there was a hen", "he is, and the", "on")
TASKS = tuple(
    Task(line=number, prompt=prompt, checks=(Check("regex", "[aeiou]"),)) for number, prompt in enumerate(PROMPTS, 1)
)


def bits(opened: OpenModel) -> str:
    digest = sha256()
    for tensor in opened.model.state_dict().values():
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def change(layer: int = 1, seed: int = 0, scale: float = 3.0, pushes: bool = False) -> Edit:
    values = scale * torch.randn(4, 32, generator=torch.Generator().manual_seed(seed))
    return Edit("test", f"noise {seed}", (Neurons(layer, "down", (0, 3, 5, 7), values),), pushes)


def plan(
    opened: OpenModel, batch: int = 2, documents: int = 3, treatments: tuple[Intervention, ...] = ()
) -> EvaluationPlan:
    read = [encode(opened.tokenizer, task.to_read()) for task in TASKS]
    texts = tuple(encode(opened.tokenizer, task.to_read()) for task in TASKS[:documents] if len(task.prompt) > 1)
    return EvaluationPlan(TASKS, tuple(read), Decoding(max_tokens=6, ends=frozenset({2})), texts, treatments, batch)


def loss(opened: OpenModel, documents: tuple[Encoded, ...]) -> float | None:
    sums = [summed_loss(opened, [documents[row] for row in rows]) for rows in loss_batches(opened, documents)]
    return mean_loss(sums, documents)


def here(session: Session) -> Engine:
    return one_by_one(session.arm_sources().working(session.cancel))


def texts(replies: list[TaskReply]) -> list[str]:
    return [reply.text for reply in replies]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path / "home")
    yield made
    made.close()


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_an_arm_is_the_model_that_it_says(session: Session, family: str) -> None:
    opened = adopt(tiny(family), tiny_tokenizer(), name=family)
    session.use_model(opened)
    alone = finished(run(opened, plan(opened), arms_of(session.arm_sources(), ("base",)), engine=here(session)))[1][0]
    clean = bits(opened)
    for number, layer in enumerate((1, 2)):
        session.take_edit(change(layer, number), f"noise{number}", "test")
    edited, hooks = bits(opened), count_hooks(opened.model)
    words = ("base", "edit", "1+2", "noise1", "2+1")
    scores, replies = finished(run(opened, plan(opened), arms_of(session.arm_sources(), words), engine=here(session)))
    assert bits(opened) == edited != clean and count_hooks(opened.model) == hooks
    assert texts(replies[0]) == texts(alone) and scores[0].name == "base"
    assert texts(replies[1]) == texts(replies[2]) and scores[1].loss == scores[2].loss != scores[0].loss
    session.edits().turn(1, False)
    scores, replies = finished(
        run(opened, plan(opened), arms_of(session.arm_sources(), ("edit", "noise1")), engine=here(session))
    )
    assert texts(replies[0]) == texts(replies[1]) and scores[1].ratio == 1
    session.edits().undo(2)
    assert bits(opened) == clean


def test_a_saved_edit_that_is_not_applied_is_an_arm_too(session: Session) -> None:
    opened = adopt(tiny("llama"), tiny_tokenizer(), name="llama")
    session.use_model(opened)
    session.take_edit(change(), "noise", "test")
    applied = finished(run(opened, plan(opened), arms_of(session.arm_sources(), ("edit",)), engine=here(session)))[1][0]
    session.edits().undo()
    clean = bits(opened)
    saved = finished(run(opened, plan(opened), arms_of(session.arm_sources(), ("noise",)), engine=here(session)))[1][0]
    assert texts(saved) == texts(applied) and bits(opened) == clean


def test_what_is_suppressed_is_so_unless_an_arm_says_otherwise(session: Session) -> None:
    opened = adopt(tiny("llama"), tiny_tokenizer(), name="llama")
    session.use_model(opened)
    free = loss(opened, plan(opened).documents)
    session.suppressed = tuple(Unit(layer, index) for layer in range(3) for index in range(0, 48, 2))
    with session.suppressing():
        held = loss(opened, plan(opened).documents)
        scores, _ = finished(
            run(opened, plan(opened), arms_of(session.arm_sources(), ("base", "unsuppressed")), engine=here(session))
        )
        assert loss(opened, plan(opened).documents) == held
    assert held != free
    assert [score.loss for score in scores] == [held, free]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3n", "mixtral"])
def test_the_loss_is_that_of_each_text_alone(family: str) -> None:
    opened = adopt(tiny(family), tiny_tokenizer(), name=family)
    documents = plan(opened, documents=5).documents
    total = 0.0
    with torch.inference_mode():
        for document in documents:
            ids = torch.tensor([document.ids])
            logits = opened.model(input_ids=ids).logits[0]
            total += float(nn.functional.cross_entropy(logits[:-1].float(), ids[0, 1:], reduction="sum"))
    assert loss(opened, documents) == pytest.approx(total / predicted(documents), rel=1e-5)


def test_what_is_live_is_in_force_in_replies_and_losses() -> None:
    opened = adopt(tiny("llama"), tiny_tokenizer(), name="llama")
    off = (Intervention(tuple(Unit(2, index) for index in range(48)), 0.0),)
    arm = EvaluationArm("x", "")
    free, held = (
        finished(run(opened, plan(opened, treatments=given), [arm], engine=one_by_one(WorkingModel(opened))))
        for given in ((), off)
    )
    assert free[0][0].loss != held[0][0].loss and texts(free[1][0]) != texts(held[1][0])


def test_replies_stand_in_the_order_of_the_tasks_whatever_the_batches() -> None:
    opened = adopt(tiny("llama"), tiny_tokenizer(), name="llama")
    found = [
        finished(run(opened, plan(opened, batch), [EvaluationArm("x", "")], engine=one_by_one(WorkingModel(opened))))[
            1
        ][0]
        for batch in (1, 2, 32)
    ]
    assert found[0] == found[1] == found[2]
    assert [reply.task for reply in found[0]] == [1, 2, 3, 4, 5]
    assert all(reply.right == any(vowel in reply.text for vowel in "aeiou") for reply in found[0])
    for reply in found[0]:
        assert (reply.at is not None) == reply.right and (reply.at or 0) < max(reply.tokens, 1)


def test_progress_counts_tasks_and_never_falls_within_an_arm() -> None:
    opened = adopt(tiny("llama"), tiny_tokenizer(), name="llama")
    events, _ = collected(run(opened, plan(opened), [EvaluationArm("x", "")], engine=one_by_one(WorkingModel(opened))))
    told = [event for event in events if isinstance(event, Progress) and event.label == "x: answering"]
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert told[-1].total == 5 and told[0].unit.startswith("tasks, ") and told[0].unit.endswith(" a second")
    assert any(event.label == "x: reading unrelated text" for event in events if isinstance(event, Progress))


@pytest.mark.parametrize("at", [0, 3, 8, 20])
def test_a_run_that_is_cancelled_leaves_edits_and_weights_as_they_were(session: Session, at: int) -> None:
    opened = adopt(tiny("llama"), tiny_tokenizer(), name="llama")
    session.use_model(opened)
    session.take_edit(change(), "noise", "test")
    edited, hooks, taken = bits(opened), count_hooks(opened.model), list[TaskReply]()
    steps = run(
        opened, plan(opened), arms_of(session.arm_sources(), ("base", "edit")), taken.extend, engine=here(session)
    )
    for _ in range(at + 1):
        next(steps)
    session.cancel.request()
    with pytest.raises(Cancelled):
        finished(steps)
    session.cancel.clear()
    assert bits(opened) == edited and count_hooks(opened.model) == hooks
    assert len(session.edits().active) == 1
    assert len(taken) % 5 in (0, 2, 4) and (at < 6 or taken)


def test_a_reply_that_does_not_fit_is_refused_with_its_line() -> None:
    opened = adopt(tiny("gpt2"), tiny_tokenizer(), name="gpt2")
    assert len(running.read(opened, TASKS, "t.jsonl", 100)) == 5
    with pytest.raises(UsageError) as raised:
        running.read(opened, TASKS, "t.jsonl", 118)
    assert "t.jsonl, line 3: its prompt has" in raised.value.message and "128 positions" in raised.value.message
    room = int(raised.value.hint.removeprefix("--max-tokens "))
    assert running.read(opened, TASKS, "t.jsonl", room)


def test_unrelated_text_is_cut_and_has_something_to_predict(tmp_path: Path) -> None:
    from sessions.texts.corpus import Corpus

    opened = adopt(tiny("llama"), tiny_tokenizer(), name="llama")
    documents = unrelated(opened, Corpus())
    assert all(2 <= len(each.ids) <= 128 for each in documents)
    assert 2048 <= sum(len(each.ids) for each in documents) < 2048 + 128
    (tmp_path / "empty.txt").write_text("\n\n \n")
    with pytest.raises(UsageError, match="no text to predict"):
        unrelated(opened, Corpus(str(tmp_path / "empty.txt")))
