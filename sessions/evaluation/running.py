"""Runs an evaluation: generates a reply to every task under every arm, in batches, and judges each reply.

All arms use the same batches, so that two replies to a task differ by the arm only. A batch has tasks of similar
length, padded on the left, and each row has its own position ids. A batch is a piece (`model.pieces`): one by one, an
arm's block is entered once; a cluster computes batches of several arms side by side. `seconds` of an arm adds up what
its batches took, wherever they were computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from sessions.comparisons.sweep_plan import LARGEST_BATCH, ROWS
from sessions.errors import UsageError
from sessions.evaluation.arms import EvaluationArm
from sessions.evaluation.checks import judged, token_at, word_at
from sessions.evaluation.languages import kept, language_of
from sessions.evaluation.scores import Score, TaskReply, score
from sessions.evaluation.tasks import Task
from sessions.evaluation.unrelated import loss_batches, mean_loss, predicted, summed_loss
from sessions.events import Progress, Steps, retold
from sessions.interventions.answering import running_rows
from sessions.interventions.arms import Condition, repetition
from sessions.interventions.intervention import Intervention
from sessions.model.generation import Decoding, GeneratedRow, generate
from sessions.model.hooks import watched
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel
from sessions.model.pieces import Computing, Engine, WorkingModel
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


@dataclass(frozen=True)
class EvaluationPiece:
    """A batch of one arm: the numbers of its tasks or, if `unrelated`, of documents of unrelated text."""

    arm: int
    rows: tuple[int, ...]
    unrelated: bool = False


@dataclass(frozen=True)
class PieceOutcome:
    """The replies of a batch in the order of its rows, or its summed loss; and how long they took."""

    replies: tuple[TaskReply, ...] = ()
    loss: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class EvaluationJob:
    """An evaluation as pieces; `languages` are those of the tasks."""

    plan: EvaluationPlan
    arms: tuple[EvaluationArm, ...]
    languages: tuple[str, ...]

    def pieces(self, opened: OpenModel) -> Iterator[EvaluationPiece]:
        """The pieces, arm by arm."""
        for arm in range(len(self.arms)):
            yield from (EvaluationPiece(arm, tuple(rows)) for rows in self.plan.batches())
            if self.plan.documents:
                read_at_once = loss_batches(opened, self.plan.documents)
                yield from (EvaluationPiece(arm, tuple(rows), unrelated=True) for rows in read_at_once)

    def size(self, piece: EvaluationPiece) -> float:
        return 0 if piece.unrelated else len(piece.rows)

    def state(self, piece: EvaluationPiece) -> EvaluationArm:
        return self.arms[piece.arm]

    def compute(self, model: WorkingModel, piece: EvaluationPiece) -> Computing[PieceOutcome]:
        started, plan = perf_counter(), self.plan
        if piece.unrelated:
            documents = [plan.documents[row] for row in piece.rows]
            return PieceOutcome(loss=summed_loss(model.opened, documents, plan.treatments, model.cancel))
        written = yield from self._written(model, piece)
        name, opened = self.arms[piece.arm].name, model.opened
        replies = tuple(
            _reply(opened, plan.tasks[row], name, self.languages[row], text)
            for row, text in zip(piece.rows, written, strict=True)
        )
        return PieceOutcome(replies, seconds=perf_counter() - started)

    def _written(self, model: WorkingModel, piece: EvaluationPiece) -> Computing[list[GeneratedRow]]:
        opened, decoding = model.opened, self.plan.decoding
        condition = Condition(self.arms[piece.arm].name, self.plan.treatments)
        prompts = [self.plan.encoded[row] for row in piece.rows]
        with watched(opened.anatomy, model.cancel), running_rows(opened, [(prompt, condition) for prompt in prompts]):
            steps = generate(opened.model, opened.tokenizer, [prompt.ids for prompt in prompts], decoding)
            return (yield from retold(steps, lambda step: len(prompts) * (step.number + 1) / decoding.max_tokens))


def run(
    opened: OpenModel,
    plan: EvaluationPlan,
    arms: Sequence[EvaluationArm],
    take: Callable[[Sequence[TaskReply]], None] | None = None,
    *,
    engine: Engine,
) -> Steps[tuple[list[Score], list[list[TaskReply]]]]:
    """The score of every arm, and its replies in the order of the tasks; `take` receives the replies of each batch.

    Raises:
        Cancelled: between two tokens; the arm's block is closed.
    """
    languages = tuple(task.language or language_of(task.prompt) for task in plan.tasks)
    job = EvaluationJob(plan, tuple(arms), languages)
    answered: list[dict[int, TaskReply]] = [{} for _ in arms]
    losses: list[list[float]] = [[] for _ in arms]
    seconds = [0.0 for _ in arms]

    def taken(piece: EvaluationPiece, outcome: PieceOutcome) -> None:
        seconds[piece.arm] += outcome.seconds
        if piece.unrelated:
            losses[piece.arm].append(outcome.loss)
            return
        answered[piece.arm] |= dict(zip(piece.rows, outcome.replies, strict=True))
        if take is not None:
            take(outcome.replies)

    started, total = perf_counter(), len(plan.tasks) * len(arms)

    def progress(done: float, piece: EvaluationPiece) -> Progress:
        pace = done / max(perf_counter() - started, 1e-6)
        label = f"{arms[piece.arm].name}: {'reading unrelated text' if piece.unrelated else 'answering'}"
        return Progress(label, done, total, f"tasks, {pace:.{1 if pace >= 1 else 2}f} a second")

    yield from engine(job, job.pieces(opened), taken, progress)
    replies = [[rows[row] for row in range(len(plan.tasks))] for rows in answered]
    scores: list[Score] = []
    for number, (arm, answers) in enumerate(zip(arms, replies, strict=True)):
        mean = mean_loss(losses[number], plan.documents) if plan.documents else None
        first, read_ = (scores[0] if scores else None), predicted(plan.documents)
        scores.append(score(arm.name, arm.about, answers, mean, seconds[number], first, read_))
    return scores, replies


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
