"""`evaluate`: how well tasks are answered with and without the edits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from commands.atlas import CorpusWord
from commands.names import FileName
from commands.prompting import decoded
from commands.verb import argument, option, verb
from commands.words import Length, Listed, Text, Whole
from sessions.errors import ArtifactError, Cancelled, UsageError
from sessions.events import Steps
from sessions.files.disk import read_file, write_file
from sessions.results import Evaluated
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.evaluation.arms import Arm
    from sessions.evaluation.running import Plan
    from sessions.evaluation.scores import Reply, Score

FAMILY = "Edits"
#: Where texts are kept that no file is named for.
FOLDER = "evaluations"
#: What stands for no unrelated text.
NONE = "none"


class ArmNames(Listed):
    """Arms of an evaluation, with commas between them."""

    name = "arms"
    shape = "ARM,…"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        before = incomplete[: incomplete.rfind(",") + 1]
        found = [("base", "without the edits"), ("edit", "all edits that are on"), ("unsuppressed", "nothing held")]
        if session is not None:
            applied = [entry.edit.name for entry in session.ledger.entries] if session.ledger is not None else []
            saved = [name for name in session.store.names("edit") if name not in applied]
            found += [(name, "that edit alone") for name in (*applied, *saved)]
        return [(before + word, about) for word, about in found if word not in before.split(",")]


class UnrelatedWord(CorpusWord):
    """A corpus, or the word for none."""

    shape = "FILE|FOLDER|hf:NAME|none"


@verb("evaluate", family=FAMILY, example="evaluate tasks.jsonl --max-tokens 8")
@argument("file", help="a file of tasks (.jsonl): a prompt, its answer, how to check it", type=FileName(".jsonl"))
@option("--arms", type=ArmNames(), help="base,edit, edits by number or name, round:NAME (default: base,edit)")
@option("--max-tokens", type=Length(), help="tokens of a reply at most (default: the setting max_tokens)")
@option("--stop", type=Text(), multiple=True, help="end a reply before this; may be given several times")
@option("--raw", is_flag=True, help="read all prompts without the chat template")
@option("--batch", type=Whole(), help="replies generated at once, which bounds the memory (default: 32)")
@option("--limit", type=Whole(), help="only the first so many tasks")
@option("--unrelated", type=UnrelatedWord(), help="text for the perplexity (default: built in); none leaves it out")
@option("--keep", type=FileName(".jsonl"), help="the file for the texts (default: one in the home folder)")
@option("--force", is_flag=True, help="replace that file")
def evaluate(
    session: Session,
    file: Path,
    arms: tuple[str, ...] | None,
    max_tokens: int | None,
    stop: tuple[str, ...],
    raw: bool,
    batch: int | None,
    limit: int | None,
    unrelated: str | None,
    keep: Path | None,
    force: bool,
) -> Steps[Evaluated]:
    """Answer a file of tasks with and without the edits, and count what is right.

    A task a line: {"prompt": "What is 17 + 25?", "answer": "42"}. An answer that is a number is right where it is the
    last number of the reply, in any spelling, or the one that the reply marks, in \\boxed{}, after #### or after "the
    answer is", whatever it goes on to write; another where the reply contains it, in any case and with accents in
    either form (NFC).
    "check" says otherwise: number, any-number (any number of the reply is the answer), contains, regex, or a list of
    them, {"kind": "regex", "value": "^Yes"}, which must all hold. A task can also have a system, seed, raw, name and
    language.

    base is the model as it was opened, edit the model as it is; NUMBER or NAME is that edit alone, 1+2 two of them,
    unsuppressed the model as it is with nothing suppressed. round:NAME is the adapter of a round of training with what
    it held at zero, round:NAME+unsuppressed without, round:a*0.5+round:b*0.5 an ensemble of two, depths:SERIES those of
    its first 1, 2, 3 and more rounds. All arms meet the same batches and, when sampling, the same random numbers; where
    one pushes a token, the stutter guard is on in all.
    Where the answer first stands is said as a token and as a word of the reply, from 0, the median over right replies;
    in Chinese and Japanese each character is a word. That, what is right, and how many replies stay in the language of
    their task are also shown by language, where the tasks are in several.
    Every other arm is held against the first: tasks that only one got right, the difference with its 95 % interval,
    McNemar's exact p. Arms that no longer write language are named: texts that repeat or are empty, perplexity on
    unrelated text three times as high.

    The texts are kept as JSON lines, one a task and arm. Broken off, what was answered by then is kept where --keep
    names a file. expect evaluate.accuracy >= 0.5 makes a test of it; the last arm is meant.
    """
    from sessions.evaluation.arms import arms_of, usual
    from sessions.evaluation.running import run

    path = _place(session, file, keep, force)
    sources = session.arm_sources()
    chosen = arms_of(sources, arms or usual(sources))
    plan, notes = _planned(session, file, chosen, max_tokens, stop, raw, batch, limit, unrelated)
    done: list[Reply] = []
    try:
        scores, replies = yield from run(session.opened(), plan, chosen, done.extend, cancel=session.cancel)
    except Cancelled as cancelled:
        if keep is not None and done:
            _write(path, done, force)
            cancelled.hint = f"{len(done):,} texts that were finished are in {path}"
        raise
    _write(path, [reply for row in zip(*replies, strict=True) for reply in row], force)
    result = _result(file, plan, scores, replies, path, (*notes, *_doubts(session, chosen, scores, replies)))
    session.reading = replace(session.reading, scores=_readings(result))
    return result


def _planned(
    session: Session,
    file: Path,
    arms: Sequence[Arm],
    max_tokens: int | None,
    stop: tuple[str, ...],
    raw: bool,
    batch: int | None,
    limit: int | None,
    unrelated: str | None,
) -> tuple[Plan, list[str]]:
    from sessions.comparisons.sweeping import ROWS
    from sessions.evaluation.running import Plan, read
    from sessions.evaluation.tasks import read_tasks
    from sessions.evaluation.unrelated import unrelated as to_read
    from sessions.texts.corpus import Corpus

    opened = session.opened()
    tasks = read_tasks(read_file(file, "a file of tasks, one a line"), str(file))
    notes = [f"the first {limit:,} of {len(tasks):,} tasks"] if limit is not None and limit < len(tasks) else []
    tasks = tasks[:limit]
    encoded = read(opened, tasks, str(file), max_tokens or session.settings.max_tokens, raw=raw)
    longest = max(len(each.ids) for each in encoded)
    pushes = any(arm.pushes for arm in arms)
    decoding = decoded(session, stops=stop, pushes=pushes, length=longest, max_tokens=max_tokens)
    if decoding.sample:
        notes.append(f"replies are sampled, with the random numbers of {decoding.rng}")
    if decoding.guard:
        notes.append("the stutter guard is on in every arm")
    documents = () if unrelated == NONE else to_read(opened, Corpus(unrelated or ""))
    return Plan(tasks, tuple(encoded), decoding, documents, session.in_force, batch or ROWS), notes


def _result(
    file: Path,
    plan: Plan,
    scores: Sequence[Score],
    replies: Sequence[Sequence[Reply]],
    path: Path,
    notes: tuple[str, ...],
) -> Evaluated:
    from sessions.evaluation.pairing import paired
    from sessions.evaluation.scores import by_language
    from sessions.evaluation.unrelated import predicted

    labels, first = [task.label for task in plan.tasks], [reply.right for reply in replies[0]]
    pairs = (
        paired((scores[0].name, score.name), first, [reply.right for reply in found], labels)
        for score, found in zip(scores[1:], replies[1:], strict=True)
    )
    return Evaluated(
        path=str(file),
        tasks=len(plan.tasks),
        max_tokens=plan.decoding.max_tokens,
        unrelated=predicted(plan.documents),
        scores=tuple(scores),
        pairs=tuple(pairs),
        languages=by_language(replies),
        kept=str(path),
        notes=notes,
    )


def _doubts(
    session: Session, arms: Sequence[Arm], scores: Sequence[Score], replies: Sequence[Sequence[Reply]]
) -> Iterator[str]:
    """What a user should know of the arms: those that are broken, that are the same, and checks that did not end."""
    for score in scores:
        if score.broken:
            yield f"arm {score.name} is broken: {'; '.join(score.broken)}"
    names = {arm.name for arm in arms}
    if {"base", "edit"} <= names and not session.edits().active:
        yield "no edit is on: base and edit are the same model"
    if any("unsuppressed" in name.split("+") for name in names) and not session.suppressed:
        yield "nothing is suppressed"
    slow = sorted({reply.task for found in replies for reply in found if reply.slow})
    if slow:
        lines = ", ".join(f"{line}" for line in slow[:5]) + (", …" if len(slow) > 5 else "")
        yield f"a regular expression took over a second on a reply, which counts as wrong: line {lines}"


def _readings(result: Evaluated) -> dict[str, float]:
    """The numbers that `expect` knows."""
    first, last = result.scores[0], result.scores[-1]
    found = {"accuracy": last.accuracy, "baseline": first.accuracy}
    if result.pairs:
        found |= {"difference": result.pairs[-1].difference, "p": result.pairs[-1].p}
    return found if last.ratio is None else found | {"perplexity": last.ratio}


def _place(session: Session, file: Path, keep: Path | None, force: bool) -> Path:
    """Where the texts go.

    Raises:
        UsageError, ArtifactError: they could not be written there.
    """
    if keep is None:
        folder = session.home / FOLDER
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip(".-")[:40] or "tasks"
        number = 1
        while os.path.lexists(folder / f"{stem}-{number}.jsonl"):
            number += 1
        return folder / f"{stem}-{number}.jsonl"
    if os.path.isdir(keep):
        raise UsageError(f"'{keep}' is a folder", f"name a file in it: {keep / 'texts.jsonl'}")
    if os.path.lexists(keep) and not force:
        raise ArtifactError(f"'{keep}' exists already", "replace it with --force, or choose another name")
    if os.path.realpath(keep) == os.path.realpath(file):
        raise UsageError(f"'{keep}' is the file of tasks", "keep the texts in another")
    return keep


def _write(path: Path, replies: Sequence[Reply], force: bool) -> None:
    write_file(path, b"".join(msgspec.json.encode(reply) + b"\n" for reply in replies), force=force)
