"""What an evaluation leaves behind: its texts, and the numbers that `expect` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sessions.files.disk import read_file, write_file
from sessions.procedures.generating import decoded
from sessions.results import ArmSoFar, Evaluated, EvaluationSoFar
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.evaluation.running import EvaluationPlan
    from sessions.evaluation.scores import Score, TaskReply

#: What stands for no unrelated text.
NONE = "none"


def readings_of(result: Evaluated) -> dict[str, float]:
    """The numbers that `expect` knows."""
    first, last = result.scores[0], result.scores[-1]
    values = {"accuracy": last.accuracy, "baseline": first.accuracy}
    if result.pairs:
        values |= {"difference": result.pairs[-1].difference, "p": result.pairs[-1].p}
    return values if last.ratio is None else values | {"perplexity": last.ratio}


def write_texts(path: Path, replies: Sequence[TaskReply], force: bool) -> None:
    """Write the replies as lines of JSON."""
    write_file(path, b"".join(msgspec.json.encode(reply) + b"\n" for reply in replies), force=force)


def evaluated_so_far(plan: EvaluationPlan, replies: Sequence[TaskReply]) -> EvaluationSoFar | None:
    """How many tasks each arm has answered, and how many rightly; None before the first reply."""
    arms = dict.fromkeys(reply.arm for reply in replies)
    rows = [[reply.right for reply in replies if reply.arm == arm] for arm in arms]
    counted = tuple(ArmSoFar(arm, len(right), sum(right)) for arm, right in zip(arms, rows, strict=True))
    return EvaluationSoFar(tasks=len(plan.tasks), arms=counted) if counted else None


def evaluated(
    session: Session,
    plan: EvaluationPlan,
    scores: Sequence[Score],
    replies: Sequence[Sequence[TaskReply]],
    path: Path,
    notes: Sequence[str],
    *,
    file: Path,
) -> Evaluated:
    """The result of an evaluation, with its pairs of arms, its languages and remarks."""
    from sessions.evaluation.scores import against_first, by_language, doubts
    from sessions.evaluation.unrelated import predicted

    doubtful = doubts(scores, replies, edited=bool(session.edits().active), suppressed=bool(session.suppressed))
    return Evaluated(
        path=str(file),
        tasks=len(plan.tasks),
        max_tokens=plan.decoding.max_tokens,
        unrelated=predicted(plan.documents),
        scores=tuple(scores),
        pairs=against_first(scores, replies, [task.label for task in plan.tasks]),
        languages=by_language(replies),
        kept=str(path),
        notes=(*notes, *doubtful),
    )


def evaluation_plan(
    session: Session,
    *,
    pushes: bool,
    file: Path,
    limit: int | None,
    max_tokens: int | None,
    raw: bool,
    stops: tuple[str, ...],
    unrelated_text: str | None,
    batch: int | None,
) -> tuple[EvaluationPlan, list[str]]:
    """What is answered, and remarks on it; `pushes` says that an arm may be stuck on a token."""
    from sessions.comparisons.sweep_plan import ROWS
    from sessions.evaluation.running import EvaluationPlan, read
    from sessions.evaluation.tasks import read_tasks
    from sessions.evaluation.unrelated import unrelated
    from sessions.texts.corpus import Corpus

    opened, notes = session.opened(), []
    all_tasks = read_tasks(read_file(file, "a file of tasks, one a line"), str(file))
    tasks = all_tasks[:limit]
    if len(tasks) < len(all_tasks):
        notes.append(f"the first {len(tasks):,} of {len(all_tasks):,} tasks")
    tokens = max_tokens or session.settings.max_tokens
    encoded = read(opened, tasks, str(file), tokens, raw=raw)
    longest = max(len(prompt.ids) for prompt in encoded)
    decoding = decoded(session, stops=stops, pushes=pushes, length=longest, max_tokens=max_tokens)
    if decoding.sample:
        notes.append(f"replies are sampled, with the random numbers of {decoding.rng}")
    if decoding.guard:
        notes.append("the stutter guard is on in every arm")
    documents = () if unrelated_text == NONE else unrelated(opened, Corpus(unrelated_text or ""))
    return EvaluationPlan(tasks, tuple(encoded), decoding, documents, session.in_force, batch or ROWS), notes
