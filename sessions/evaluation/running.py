"""Runs an evaluation: generates a reply to every task under every arm, in batches, and judges each reply.

All arms use the same batches, so that two replies to a task differ by the arm only. A batch has tasks of similar
length, padded on the left, and each row has its own position ids. An arm's block is entered once; the replies and the
loss on unrelated text are computed inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter

from sessions.cancel import Cancel
from sessions.comparisons.sweep_plan import LARGEST_BATCH, ROWS
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
    """The plan of an evaluation.

    `encoded` are the tokenised tasks. `documents` are the unrelated text; empty skips the perplexity. `treatments` are
    the interventions in force in every text. A batch has at most `batch` rows.
    """

    tasks: tuple[Task, ...]
    encoded: tuple[Encoded, ...]
    decoding: Decoding
    documents: tuple[Encoded, ...] = ()
    treatments: tuple[Intervention, ...] = ()
    batch: int = ROWS

    def batches(self) -> Iterator[list[int]]:
        """The numbers of the tasks in each batch."""
        lengths = [len(prompt.ids) + self.decoding.max_tokens for prompt in self.encoded]
        for rows in batches(lengths, LARGEST_BATCH):
            for start in range(0, len(rows), self.batch):
                yield rows[start : start + self.batch]


def read(opened: OpenModel, tasks: Sequence[Task], source: str, tokens: int, *, raw: bool = False) -> list[Encoded]:
    """Tokenise the prompts of the tasks.

    Raises:
        UsageError: a prompt and a reply of `tokens` tokens exceed the model's positions.
        ModelError: the template refuses a prompt.
    """
    prompts, context = [], opened.anatomy.context
    for task in tasks:
        encoded = encode(opened.tokenizer, task.to_read(raw=raw))
        # The model does not read the last token of a reply.
        if context is not None and len(encoded.ids) + tokens - 1 > context:
            room = context - len(encoded.ids) + 1
            raise UsageError(
                f"{source}, line {task.line}: its prompt has {len(encoded.ids):,} tokens, and with a reply of "
                f"{tokens:,} that is more than the {context:,} positions of the model",
                f"--max-tokens {room}" if room > 0 else "a shorter prompt",
            )
        prompts.append(encoded)
    return prompts


def run(
    opened: OpenModel,
    plan: EvaluationPlan,
    arms: Sequence[EvaluationArm],
    take: Callable[[Sequence[TaskReply]], None] | None = None,
    *,
    cancel: Cancel | None = None,
) -> Steps[tuple[list[Score], list[list[TaskReply]]]]:
    """The score of every arm, and its replies in the order of the tasks; `take` receives the replies of each batch.

    Raises:
        Cancelled: between two tokens; the arm's block is closed.
    """
    languages = [task.language or language_of(task.prompt) for task in plan.tasks]
    scores: list[Score] = []
    replies: list[list[TaskReply]] = []
    for arm in arms:
        with arm.within():
            started = perf_counter()
            answers = yield from _replies(opened, plan, arm, languages, take, cancel)
            seconds = perf_counter() - started
            mean = None
            if plan.documents:
                label = f"{arm.name}: reading unrelated text"
                mean = yield from loss(opened, plan.documents, plan.treatments, label=label, cancel=cancel)
        first, read_ = (scores[0] if scores else None), predicted(plan.documents)
        scores.append(score(arm.name, arm.about, answers, mean, seconds, first, read_))
        replies.append(answers)
    return scores, replies


def _replies(
    opened: OpenModel,
    plan: EvaluationPlan,
    arm: EvaluationArm,
    languages: Sequence[str],
    take: Callable[[Sequence[TaskReply]], None] | None,
    cancel: Cancel | None,
) -> Steps[list[TaskReply]]:
    """The replies under an arm whose block is open, in the order of the tasks."""
    replies: dict[int, TaskReply] = {}
    started = perf_counter()
    for rows in plan.batches():
        condition = Condition(arm.name, plan.treatments)
        prompts = [plan.encoded[row] for row in rows]
        with watched(opened.anatomy, cancel), running_rows(opened, [(prompt, condition) for prompt in prompts]):
            steps = generate(opened.model, opened.tokenizer, [prompt.ids for prompt in prompts], plan.decoding)
            with closing(steps):
                while True:
                    try:
                        step = next(steps)
                    except StopIteration as stop:
                        written: list[GeneratedRow] = stop.value
                        break
                    part = len(rows) * (step.number + 1) / plan.decoding.max_tokens
                    yield _progress(arm, len(replies) + part, len(plan.tasks), started)
        new = {
            row: _reply(opened, plan.tasks[row], arm.name, languages[row], text)
            for row, text in zip(rows, written, strict=True)
        }
        replies |= new
        if take is not None:
            take(list(new.values()))
    return [replies[row] for row in range(len(plan.tasks))]


def _progress(arm: EvaluationArm, done: float, total: int, started: float) -> Progress:
    pace = done / max(perf_counter() - started, 1e-6)
    return Progress(f"{arm.name}: answering", done, total, f"tasks, {pace:.{1 if pace >= 1 else 2}f} a second")


def _reply(opened: OpenModel, task: Task, arm: str, prompt_language: str, row: GeneratedRow) -> TaskReply:
    verdict = judged(task.checks, row.text)

    def first_tokens(count: int) -> str:
        return text_of(opened.tokenizer, row.ids[:count], special=False)

    language = language_of(row.text)
    return TaskReply(
        task=task.line,
        name=task.name,
        arm=arm,
        prompt=task.prompt,
        answer=task.answer,
        right=verdict.right,
        at=None if verdict.at is None else token_at(first_tokens, len(row.ids), verdict.at),
        asked=prompt_language,
        language=language,
        kept=kept(prompt_language, language),
        tokens=len(row.ids),
        repetition=repetition(row.ids),
        stopped=row.stopped,
        guarded=row.guarded,
        text=row.text,
        slow=verdict.slow,
        first_answer_words=None if verdict.at is None else word_at(row.text, verdict.at),
    )
