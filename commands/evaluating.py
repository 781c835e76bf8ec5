"""`evaluate`: how well tasks are answered with and without the edits."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from commands.corpus import CorpusWord
from commands.fields import MaxTokens
from commands.machines import WORKERS_ON, Machines
from commands.names import FileName, OutputFile
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import ListWord, TextWord, Whole
from sessions.errors import Cancelled, UsageError
from sessions.events import Steps, with_partials
from sessions.files.disk import check_target
from sessions.procedures.evaluating import evaluated, evaluated_so_far, evaluation_plan, readings_of, write_texts
from sessions.results import Evaluated
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.evaluation.scores import TaskReply

FAMILY = "Edits"
#: Where texts are kept that no file is named for.
FOLDER = "evaluations"


class ArmNames(ListWord):
    """Arms of an evaluation, with commas between them."""

    name = "arms"
    shape = "ARM,…"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        before = incomplete[: incomplete.rfind(",") + 1]
        choices = [("base", "without the edits"), ("edit", "all edits that are on"), ("unsuppressed", "nothing held")]
        if session is not None:
            applied = [entry.edit.name for entry in session.ledger.entries] if session.ledger is not None else []
            saved = [name for name in session.store.names("edit") if name not in applied]
            choices += [(name, "that edit alone") for name in (*applied, *saved)]
        return [(before + word, about) for word, about in choices if word not in before.split(",")]


class UnrelatedWord(CorpusWord):
    """A corpus, or the word for none."""

    shape = "FILE|FOLDER|hf:NAME|none"


@verb(
    "evaluate",
    family=FAMILY,
    synonyms=("benchmark", "eval", "score", "accuracy", "test", "tasks"),
    needs=("model",),
    example=(
        "evaluate tasks.jsonl --max-tokens 8",
        "evaluate tasks.jsonl --arms base,1,1+2 --limit 50 --unrelated none",
        "evaluate tasks.jsonl --arms base,round:crab-1 --keep texts.jsonl",
    ),
)
class Evaluate(Request, frozen=True):
    """Answer a file of tasks with and without the edits, and count what is right.

    Each line is a task: {"prompt": "What is 17 + 25?", "answer": "42"}. A numeric answer is right if it is the last
    number of the reply, in any spelling, or the one that the reply marks: in \\boxed{}, after #### or after "the
    answer is", whatever follows. Any other answer is right if the reply contains it, in any case and with accents
    in either form (NFC). "check" overrides this: number, any-number (any number of the reply is the answer),
    contains, regex, or a list of them, {"kind": "regex", "value": "^Yes"}, which must all hold. A task can also
    have a system, seed, raw, name and language.

    An arm is a condition that all tasks are answered under. base is the model as it was opened, edit the model as
    it is now. NUMBER or NAME is that edit alone, 1+2 two of them. unsuppressed is the model as it is with nothing
    suppressed. round:NAME is the adapter of a round of training with what it held at zero, round:NAME+unsuppressed
    without, round:a*0.5+round:b*0.5 an ensemble of two, depths:SERIES those of its first 1, 2, 3 and more rounds.
    All arms use the same batches and, when sampling, the same random numbers. If one arm pushes a token, the
    stutter guard is on in all.

    The result reports at which token and at which word of a reply the answer first occurs, counted from 0, as the
    median over right replies; in Chinese and Japanese each character is a word. Where the tasks are in several
    languages, it also reports by language what is right, and how many replies stay in the language of their task.
    Every other arm is compared with the first: tasks that only one got right, the difference with its 95 %
    interval, McNemar's exact p. Arms that no longer write language are named: their texts repeat or are empty, or
    their perplexity on unrelated text is three times as high.

    The texts are kept as JSON lines, one for each task and arm. If the run is stopped and --keep names a file, the
    finished texts are kept. expect evaluate.accuracy >= 0.5 makes a test of it, on the last arm.
    """

    file: Annotated[Path, Arg(FileName(".jsonl"), "a file of tasks (.jsonl): a prompt, its answer, how to check it")]
    arms: Annotated[
        tuple[str, ...] | None,
        Opt(ArmNames(), "base, edit, edits by number or name, round:NAME (default: base,edit)"),
    ] = None
    max_tokens: MaxTokens = None
    stop: Annotated[
        tuple[str, ...], Opt(TextWord(), "end a reply before this text; may be given several times", many=True)
    ] = ()
    raw: Annotated[bool, Flag("read all prompts without the chat template")] = False
    batch: Annotated[int | None, Opt(Whole(), "replies generated at once, which bounds the memory (default: 32)")] = (
        None
    )
    limit: Annotated[int | None, Opt(Whole(), "only this many tasks, the first")] = None
    unrelated: Annotated[
        str | None, Opt(UnrelatedWord(), "text for the perplexity (default: built in); none leaves it out")
    ] = None
    keep: Annotated[
        Path | None, Opt(OutputFile(".jsonl"), "the file for the texts (default: one in the home folder)")
    ] = None
    force: Annotated[bool, Flag("replace that file")] = False
    machines: Machines = Machines()

    rules = (WORKERS_ON,)

    def run(self, session: Session) -> Steps[Evaluated]:
        from sessions.evaluation.arms import arms_of, usual
        from sessions.evaluation.running import run

        path = self._target(session)
        sources = session.arm_sources()
        arms = arms_of(sources, self.arms or usual(sources))
        plan, notes = evaluation_plan(
            session,
            pushes=any(arm.pushes for arm in arms),
            file=self.file,
            limit=self.limit,
            max_tokens=self.max_tokens,
            raw=self.raw,
            stops=self.stop,
            unrelated_text=self.unrelated,
            batch=self.batch,
        )
        done: list[TaskReply] = []
        try:
            engine = yield from self.machines.engine(session)
            steps = run(session.opened(), plan, arms, done.extend, engine=engine)
            scores, replies = yield from with_partials(steps, lambda: evaluated_so_far(plan, done))
        except Cancelled as cancelled:
            if self.keep is not None and done:
                write_texts(path, done, self.force)
                cancelled.hint = f"{len(done):,} texts that were finished are in {path}"
            raise
        write_texts(path, [reply for row in zip(*replies, strict=True) for reply in row], self.force)
        result = evaluated(session, plan, scores, replies, path, notes, file=self.file)
        session.last_output = replace(session.last_output, scores=readings_of(result))
        return result

    def _target(self, session: Session) -> Path:
        """Where the texts go.

        Raises:
            UsageError, ArtifactError: they could not be written there.
        """
        if self.keep is None:
            stem = re.sub(r"[^A-Za-z0-9._-]+", "-", self.file.stem).strip(".-")[:40] or "tasks"
            paths = (session.home / FOLDER / f"{stem}-{number}.jsonl" for number in count(1))
            return next(path for path in paths if not os.path.lexists(path))
        check_target(self.keep, "texts.jsonl", force=self.force)
        if os.path.realpath(self.keep) == os.path.realpath(self.file):
            raise UsageError(f"'{self.keep}' is the file of tasks", "keep the texts in another file")
        return self.keep
