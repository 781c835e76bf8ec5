"""Running an evaluation: every task answered under every arm, in batches, and each reply judged as it comes.

The batches are the same for all arms: tasks of like length together, padded on the left, each row with position ids of
its own, so that what differs between two replies to a task is what the arms are. An arm's block is entered once; the
replies and the loss on unrelated text are computed in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter

from sessions.cancel import Cancel
from sessions.comparisons.sweeping import LARGEST_BATCH, ROWS
from sessions.errors import UsageError
from sessions.evaluation.arms import EvaluationArm
from sessions.evaluation.checks import judged, token_at, word_at
from sessions.evaluation.languages import kept, language_of
from sessions.evaluation.scores import Score, TaskReply, score
from sessions.evaluation.tasks import Task
from sessions.evaluation.unrelated import loss, predicted
from sessions.events import Progress, Steps
from sessions.interventions.answering import running_rows
from sessions.interventions.arms import Condition, repetition
from sessions.interventions.intervention import Intervention
from sessions.model.generation import Decoding, GeneratedRow, generate
from sessions.model.hooks import watched
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel
from sessions.model.rows import batches
from sessions.model.texts import text_of
from sessions.model.tokens import encode


@dataclass(frozen=True)
class EvaluationPlan:
    """What is answered, and how: the tasks, as the model reads them, the unrelated text (none for no perplexity), and
    the interventions in force in every text. A batch has `batch` rows at most."""

    tasks: tuple[Task, ...]
    encoded: tuple[Encoded, ...]
    decoding: Decoding
    documents: tuple[Encoded, ...] = ()
    treatments: tuple[Intervention, ...] = ()
    batch: int = ROWS

    def batches(self) -> Iterator[list[int]]:
        """The tasks of each batch."""
        lengths = [len(each.ids) + self.decoding.max_tokens for each in self.encoded]
        for rows in batches(lengths, LARGEST_BATCH):
            for start in range(0, len(rows), self.batch):
                yield rows[start : start + self.batch]


def read(opened: OpenModel, tasks: Sequence[Task], source: str, tokens: int, *, raw: bool = False) -> list[Encoded]:
    """The tasks as the model reads them.

    Raises:
        UsageError: a prompt with a reply of so many tokens is longer than the model has positions for.
        ModelError: its template refuses a prompt.
    """
    found, context = [], opened.anatomy.context
    for task in tasks:
        encoded = encode(opened.tokenizer, task.to_read(raw=raw))
        # The last token of a reply is not read again.
        if context is not None and len(encoded.ids) + tokens - 1 > context:
            room = context - len(encoded.ids) + 1
            raise UsageError(
                f"{source}, line {task.line}: its prompt has {len(encoded.ids):,} tokens, and with a reply of "
                f"{tokens:,} that is more than the {context:,} positions of the model",
                f"--max-tokens {room}" if room > 0 else "a shorter prompt",
            )
        found.append(encoded)
    return found


def run(
    opened: OpenModel,
    plan: EvaluationPlan,
    arms: Sequence[EvaluationArm],
    take: Callable[[Sequence[TaskReply]], None] | None = None,
    *,
    cancel: Cancel | None = None,
) -> Steps[tuple[list[Score], list[list[TaskReply]]]]:
    """The score of every arm, and its replies in the order of the tasks; `take` is given those of each batch.

    Raises:
        Cancelled: between two tokens; the arm's block is left as any other.
    """
    asked = [task.language or language_of(task.prompt) for task in plan.tasks]
    scores: list[Score] = []
    replies: list[list[TaskReply]] = []
    for arm in arms:
        with arm.within():
            started = perf_counter()
            found = yield from _answered(opened, plan, arm, asked, take, cancel)
            seconds = perf_counter() - started
            mean = None
            if plan.documents:
                label = f"{arm.name}: reading unrelated text"
                mean = yield from loss(opened, plan.documents, plan.treatments, label=label, cancel=cancel)
        first, read_ = (scores[0] if scores else None), predicted(plan.documents)
        scores.append(score(arm.name, arm.about, found, mean, seconds, first, read_))
        replies.append(found)
    return scores, replies


def _answered(
    opened: OpenModel,
    plan: EvaluationPlan,
    arm: EvaluationArm,
    asked: Sequence[str],
    take: Callable[[Sequence[TaskReply]], None] | None,
    cancel: Cancel | None,
) -> Steps[list[TaskReply]]:
    """The replies of an arm whose block is open."""
    found: dict[int, TaskReply] = {}
    started = perf_counter()
    for rows in plan.batches():
        condition = Condition(arm.name, plan.treatments)
        given = [(plan.encoded[row], condition) for row in rows]
        with watched(opened.anatomy, cancel), running_rows(opened, given):
            steps = generate(opened.model, opened.tokenizer, [each.ids for each, _ in given], plan.decoding)
            with closing(steps):
                while True:
                    try:
                        step = next(steps)
                    except StopIteration as stop:
                        written: list[GeneratedRow] = stop.value
                        break
                    part = len(rows) * (step.number + 1) / plan.decoding.max_tokens
                    yield _progress(arm, len(found) + part, len(plan.tasks), started)
        new = {
            row: _reply(opened, plan.tasks[row], arm.name, asked[row], text)
            for row, text in zip(rows, written, strict=True)
        }
        found |= new
        if take is not None:
            take(list(new.values()))
    return [found[row] for row in range(len(plan.tasks))]


def _progress(arm: EvaluationArm, done: float, total: int, started: float) -> Progress:
    pace = done / max(perf_counter() - started, 1e-6)
    return Progress(f"{arm.name}: answering", done, total, f"tasks, {pace:.{1 if pace >= 1 else 2}f} a second")


def _reply(opened: OpenModel, task: Task, arm: str, asked: str, row: GeneratedRow) -> TaskReply:
    verdict = judged(task.checks, row.text)

    def said(count: int) -> str:
        return text_of(opened.tokenizer, row.ids[:count], special=False)

    language = language_of(row.text)
    return TaskReply(
        task=task.line,
        name=task.name,
        arm=arm,
        prompt=task.prompt,
        answer=task.answer,
        right=verdict.right,
        at=None if verdict.at is None else token_at(said, len(row.ids), verdict.at),
        asked=asked,
        language=language,
        kept=kept(asked, language),
        tokens=len(row.ids),
        repetition=repetition(row.ids),
        stopped=row.stopped,
        guarded=row.guarded,
        text=row.text,
        slow=verdict.slow,
        first_answer_words=None if verdict.at is None else word_at(row.text, verdict.at),
    )
