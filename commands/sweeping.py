"""`sweep`: a grid of multipliers, selections and prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import structs

from commands.fields import MaxTokens
from commands.interventions import FAMILY
from commands.limits import Limits
from commands.machines import WORKERS_ON, Machines
from commands.names import FileName, Name, OutputFile
from commands.request import Arg, Excludes, Flag, Needs, Opt, Request
from commands.verb import verb
from commands.weighing import Mixture, is_number, numbers, weighed_adapters
from commands.words import ObservedWord, SweptWord, Whole
from sessions.circuits.selection import terms
from sessions.comparisons.sweep_files import names
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.intervention import TokenScope
from sessions.procedures.circuits import doubts, target_of
from sessions.procedures.generating import decoded
from sessions.procedures.sweep_results import check_chart
from sessions.procedures.sweeps import (
    check_ready,
    chosen_neurons,
    kept_sweep,
    left_out_of_sweep,
    resumed_sweep,
    run_sweep,
)
from sessions.references import prompts_with_targets
from sessions.results import Swept, SweptGrid
from sessions.session import Session
from sessions.versions import versions

if TYPE_CHECKING:
    from sessions.comparisons.sweep_plan import AdapterShare, Chosen, SweepPlan, SweepPrompt
    from sessions.edits.adapters import Adapter

MULTIPLIERS = (0.0, 0.5, 1.0, 1.5, 2.0)


class SweepName(Name):
    """The name a sweep is kept under."""

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [] if session is None else [(name, "kept sweep") for name in names(session.home)]


#: What is said of an option that a plan which is kept knows already, and of one that says nothing about adapters.
_KNOWS, _RESUMED = "does not go with --resume: the saved sweep has it all", "for example: sweep --resume texas"
_WEIGHED = "for example: sweep --adapter fr --against es 0 0.5 1"


@verb(
    "sweep",
    family=FAMILY,
    synonyms=("chart", "curve", "plot", "dose response", "grid", "range"),
    needs=("model", "prompt", "circuit"),
    example=("sweep top50 0 0.5 1 1.5 2", "sweep top10 0 1 2 --also top50 --save texas", "sweep --adapter fr 0 0.5 1"),
)
class RunSweep(Request, frozen=True):
    """Run a range of multipliers on the same neurons, as one batched job.

    Shows the target's probability and the text at each multiplier, and the knee: the multiplier nearest to 1 at
    which the likeliest next token changes. With --also and --prompts it is a grid: every selection at every
    multiplier on every prompt.

    With --adapter the multipliers are weights of kept adapters, and the knee is the weight nearest to 0, where none
    of them is in the model: sweep --adapter fr 0 0.5 1. fr*0.5+es scales two together; --adapter fr --against es
    lets es go from 1 to 0 as fr goes from 0 to 1; depths:SERIES takes in the first 0, 1, 2, … rounds of a series,
    each with its share, and nothing suppressed. Each row is the model as it was opened with those adapters alone.
    They need not be on, and afterwards the model is as it was.

    With --save, every batch is written as it ends to sweeps/NAME of the home folder: a line of JSON for each
    answer, and in the end a table and charts. An interrupted sweep continues with the same line, or with sweep
    --resume NAME, and ends in the same file.
    """

    words: Annotated[
        tuple[str, ...],
        Arg(
            SweptWord(),
            "a selection (default: the whole circuit), then multipliers (default: 0 0.5 1 1.5 2)",
            metavar="[SELECTION] [MULTIPLIER…]",
            many=True,
        ),
    ] = ()
    adapter: Annotated[
        tuple[str, ...], Opt(Mixture(), "sweep the weight of adapters: fr, fr*0.5+es, depths:crab", many=True)
    ] = ()
    against: Annotated[str | None, Opt(Mixture(), "with --adapter: adapters that go from 1 to 0 meanwhile")] = None
    also: Annotated[
        tuple[str, ...], Opt(ObservedWord(), "another selection; may be given several times", many=True)
    ] = ()
    prompts: Annotated[
        Path | None, Opt(FileName(".jsonl"), "a file of prompts, with their targets, instead of the prompt")
    ] = None
    raw: Annotated[bool, Flag("with --prompts: read all of them without the chat template")] = False
    max_tokens: MaxTokens = None
    batch: Annotated[int | None, Opt(Whole(), "texts generated at once, which bounds the memory (default: 32)")] = None
    save: Annotated[
        str | None, Opt(SweepName(), "save it under this name; the same line continues it where it stopped")
    ] = None
    resume: Annotated[str | None, Opt(SweepName(), "continue a saved sweep; only the model has to be open")] = None
    chart: Annotated[Path | None, Opt(OutputFile(".svg"), "write the chart to this file, .svg or .png")] = None
    force: Annotated[bool, Flag("replace the chart's file, and move another sweep of that name to the trash")] = False
    limits: Limits = Limits()
    machines: Machines = Machines()

    rules = (
        WORKERS_ON,
        Excludes("resume", ("words",), f"a selection {_KNOWS}", _RESUMED),
        Excludes(
            "resume",
            ("also", "prompts", "raw", "adapter", "against", "save", "max_tokens", "batch", *structs.asdict(Limits())),
            "{other} " + _KNOWS,
            _RESUMED,
        ),
        Needs(
            ("raw",),
            "prompts",
            "--raw is for a file of prompts",
            "for example: sweep top50 --prompts keys.jsonl --raw",
        ),
        Needs(("against",), "adapter", "{some} needs adapters that go up", _WEIGHED),
        Excludes(
            "adapter",
            ("also",),
            "--also is for neurons",
            "give --adapter once more: sweep --adapter fr --adapter es 0 0.5 1",
        ),
        Excludes(
            "adapter",
            tuple(structs.asdict(Limits())),
            "{other} is for neurons: an adapter is in the whole text",
            _WEIGHED,
        ),
    )

    def run(self, session: Session) -> Steps[Swept | SweptGrid]:
        check_chart(self.chart, self.force)
        if self.resume is not None:
            engine = yield from self.machines.engine(session)
            return (yield from resumed_sweep(session, self.resume, self.chart, self.force, engine))
        adapters: dict[AdapterShare, Adapter] = {}
        if self.adapter:
            chosen, multipliers, adapters = weighed_adapters(session, self.words, self.adapter, self.against)
            plan, notes = yield from self._weighing(session, chosen, multipliers)
        else:
            plan, notes = yield from self._planned(session)
        engine = yield from self.machines.engine(session)
        if self.save is None:
            return (yield from run_sweep(session, plan, None, notes, self.chart, self.force, adapters, engine))
        line = structs.replace(self, chart=None, force=False, machines=Machines()).line()
        with kept_sweep(session, self.save, plan, line, self.force) as (folder, moved):
            notes = [*notes, *moved]
            return (yield from run_sweep(session, plan, folder, notes, self.chart, self.force, adapters, engine))

    def _planned(self, session: Session) -> Steps[tuple[SweepPlan, list[str]]]:
        """The plan that a line makes, and remarks on it."""
        text, multipliers = _swept(self.words)
        texts = (text, *self.also)
        if len(set(texts)) < len(texts):
            raise UsageError("a selection is given twice", "for example: sweep top10 0 1 2 --also top50")
        check_ready(session, self.prompts)
        chosen = [session.select(text, length=None if self.prompts is None else 0) for text in texts]
        where, at = structs.replace(self.limits, at="all"), self.limits.at
        questions, notes = yield from _questions(session, self.prompts, self.raw, where)
        plan = self._plan(
            session,
            questions,
            selections=tuple(chosen_neurons(selection, at, self.prompts is not None) for selection in chosen),
            multipliers=multipliers,
            suppressed=tuple(map(str, session.suppressed)),
            scope=str(TokenScope(where.region, where.positions or ())) if where != Limits() else at,
        )
        return plan, notes

    def _weighing(
        self, session: Session, chosen: tuple[Chosen, ...], multipliers: tuple[float, ...]
    ) -> Steps[tuple[SweepPlan, list[str]]]:
        """The plan of a sweep of adapters, and remarks on it."""
        check_ready(session, self.prompts)
        with session.edits().lifted():
            questions, notes = yield from _questions(session, self.prompts, self.raw, Limits())
        deep = any(selection.deep for selection in chosen)
        plan = self._plan(
            session,
            questions,
            selections=chosen,
            multipliers=multipliers,
            suppressed=() if deep else tuple(map(str, session.suppressed)),
            scope="on the model as it was opened" + (", nothing suppressed" if deep else ""),
        )
        return plan, [*notes, *left_out_of_sweep(session, chosen)]

    def _plan(self, session: Session, questions: tuple[SweepPrompt, ...], **swept: Any) -> SweepPlan:
        """A plan of what is `swept`, answered as the session and the line say."""
        from sessions.comparisons.sweep_plan import ROWS, SweepPlan

        info = session.opened().info
        return SweepPlan(
            dtype=info.dtype,
            prompts=questions,
            decoding=decoded(
                session, max_tokens=self.max_tokens, length=max(len(question.ids) for question in questions)
            ),
            live=session.in_force,
            batch=self.batch or ROWS,
            device=info.device,
            versions=versions(),
            **swept,
        )


def _swept(words: tuple[str, ...]) -> tuple[str, tuple[float, ...]]:
    """The selection and the multipliers of a sweep: everything up to the first number is the selection."""
    kinds = [is_number(word) for word in words]
    first = kinds.index(True) if True in kinds else len(words)
    text = " ".join(words[:first]) or "all"
    terms(text)
    return text, numbers(words[first:]) or MULTIPLIERS


def _questions(
    session: Session, prompts: Path | None, raw: bool, limits: Limits
) -> Steps[tuple[tuple[SweepPrompt, ...], list[str]]]:
    """The prompts with their targets, and remarks on them."""
    from sessions.comparisons.sweep_plan import question

    if prompts is None:
        encoded = session.encoded()
        return (question(encoded, target_of(session), limits.where(session, encoded)),), list(doubts(session))
    cases, notes = yield from prompts_with_targets(session, prompts, raw)
    return tuple(question(case.encoded, case.target, limits.where(session, case.encoded)) for case in cases), notes
