"""`sweep`: a grid of multipliers, selections and prompts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import structs

from commands.fields import MaxTokens
from commands.interventions import FAMILY, doubts, target_of
from commands.limits import Limits
from commands.names import FileName, Name
from commands.prompting import decoded
from commands.request import Arg, Excludes, Flag, Needs, Opt, Request
from commands.swept import check_chart, drawn, remarks
from commands.swept import result as shown
from commands.verb import verb
from commands.weighing import Mixture, adapters_again, is_number, left_out, numbers, weighed_adapters
from commands.words import SelectionWord, SweptWord, Whole, Word
from sessions.circuits.selection import Selection, terms
from sessions.comparisons.sweep_files import names, table, taken
from sessions.comparisons.sweep_points import SweepPoint
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.files.disk import write_file
from sessions.interventions.intervention import TokenScope
from sessions.model.info import same_model
from sessions.references import prompts_with_targets
from sessions.results import Swept, SweptGrid
from sessions.session import LastOutput, Session
from sessions.store import check_model
from sessions.versions import versions

if TYPE_CHECKING:
    from sessions.comparisons.sweep_files import Sweep
    from sessions.comparisons.sweeping import AdapterShare, Chosen, SweepPlan, SweepPrompt
    from sessions.edits.adapters import Adapter
    from sessions.model.info import ModelInfo

MULTIPLIERS = (0.0, 0.5, 1.0, 1.5, 2.0)


class AnotherSelection(Word):
    """A selection as the value of an option."""

    name = "selection"
    shape = "SELECTION"

    def read(self, text: str) -> str:
        return str(SelectionWord().read(text))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return SelectionWord().completions(session, incomplete)


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
        tuple[str, ...], Opt(AnotherSelection(), "another selection; may be given several times", many=True)
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
    chart: Annotated[Path | None, Opt(FileName(".svg"), "write the chart to this file, .svg or .png")] = None
    force: Annotated[bool, Flag("replace the chart's file, and move another sweep of that name to the trash")] = False
    limits: Limits = Limits()

    rules = (
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
            return (yield from _resumed(session, self.resume, self.chart, self.force))
        adapters: dict[AdapterShare, Adapter] = {}
        if self.adapter:
            chosen, multipliers, adapters = weighed_adapters(session, self.words, self.adapter, self.against)
            plan, notes = yield from self._weighing(session, chosen, multipliers)
        else:
            plan, notes = yield from self._planned(session)
        if self.save is None:
            return (yield from _done(session, plan, None, notes, self.chart, self.force, adapters))
        line = structs.replace(self, chart=None, force=False).line()
        with _kept(session, self.save, plan, line, self.force) as (folder, moved):
            return (yield from _done(session, plan, folder, [*notes, *moved], self.chart, self.force, adapters))

    def _planned(self, session: Session) -> Steps[tuple[SweepPlan, list[str]]]:
        """The plan that a line makes, and remarks on it."""
        text, multipliers = _swept(self.words)
        texts = (text, *self.also)
        if len(set(texts)) < len(texts):
            raise UsageError("a selection is given twice", "for example: sweep top10 0 1 2 --also top50")
        _check_ready(session, self.prompts)
        chosen = [session.select(each, length=None if self.prompts is None else 0) for each in texts]
        where, at = structs.replace(self.limits, at="all"), self.limits.at
        questions, notes = yield from _questions(session, self.prompts, self.raw, where)
        plan = self._plan(
            session,
            questions,
            selections=tuple(_chosen(each, at, self.prompts is not None) for each in chosen),
            multipliers=multipliers,
            suppressed=tuple(map(str, session.suppressed)),
            scope=str(TokenScope(where.region, where.positions or ())) if where != Limits() else at,
        )
        return plan, notes

    def _weighing(
        self, session: Session, chosen: tuple[Chosen, ...], multipliers: tuple[float, ...]
    ) -> Steps[tuple[SweepPlan, list[str]]]:
        """The plan of a sweep of adapters, and remarks on it."""
        _check_ready(session, self.prompts)
        with session.edits().lifted():
            questions, notes = yield from _questions(session, self.prompts, self.raw, Limits())
        deep = any(each.deep for each in chosen)
        plan = self._plan(
            session,
            questions,
            selections=chosen,
            multipliers=multipliers,
            suppressed=() if deep else tuple(map(str, session.suppressed)),
            scope="on the model as it was opened" + (", nothing suppressed" if deep else ""),
        )
        return plan, [*notes, *left_out(session, chosen)]

    def _plan(self, session: Session, questions: tuple[SweepPrompt, ...], **swept: Any) -> SweepPlan:
        """A plan of what is `swept`, answered as the session and the line say."""
        from sessions.comparisons.sweeping import ROWS, SweepPlan

        info = session.opened().info
        return SweepPlan(
            dtype=info.dtype,
            prompts=questions,
            decoding=decoded(session, max_tokens=self.max_tokens, length=max(len(each.ids) for each in questions)),
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


def _check_ready(session: Session, prompts: Path | None) -> None:
    """Raise where there is no model, or no prompt: what is missing first is said first."""
    session.opened()
    if prompts is None:
        session.encoded()


def _questions(
    session: Session, prompts: Path | None, raw: bool, limits: Limits
) -> Steps[tuple[tuple[SweepPrompt, ...], list[str]]]:
    """The prompts with their targets, and remarks on them."""
    from sessions.comparisons.sweeping import question

    if prompts is None:
        encoded = session.encoded()
        return (question(encoded, target_of(session), limits.where(session, encoded)),), list(doubts(session))
    cases, notes = yield from prompts_with_targets(session, prompts, raw)
    return tuple(question(case.encoded, case.target, limits.where(session, case.encoded)) for case in cases), notes


def _chosen(selection: Selection, at: str, many: bool) -> Chosen:
    """A selection as the plan keeps it. On many prompts a position means something only from the end."""
    from sessions.comparisons.sweeping import Chosen

    neurons = selection.spread(at)
    placed = (neuron for neuron in neurons if neuron.position is not None and neuron.position >= 0)
    wrong = next(placed, None) if many else None
    if wrong is not None:
        raise UsageError(
            f"'{selection.text}' has neurons at positions of one prompt, such as {wrong}, and --prompts are many",
            "leave the positions out (no --at circuit), or take a circuit that was found on many prompts",
        )
    return Chosen(selection.text, tuple(map(str, neurons)))


@contextmanager
def _kept(session: Session, name: str, plan: SweepPlan, line: str, force: bool) -> Iterator[tuple[Sweep, list[str]]]:
    """The folder of a sweep that begins, or that the same line goes on with, and remarks."""
    info, moved = session.opened().info, []
    with taken(session.home, name, new=True) as folder:
        try:
            wrong = _another(folder, plan, info)
        except ArtifactError as error:  # the plan that is there is damaged
            if not force:
                raise
            wrong = error.message
        if wrong is None:
            yield folder, []
            return
        if wrong and not force:
            raise ArtifactError(
                f"there is another sweep '{name}': {wrong}",
                "choose another name, or --force, which moves it to the trash",
            )
        if not wrong:
            folder.begin(plan, model=info.name, fingerprint=info.fingerprint, command=line)
            yield folder, []
            return
        moved.append(f"the sweep that had this name is in {folder.discard()} of the home folder")
    with taken(session.home, name, new=True) as folder:
        folder.begin(plan, model=info.name, fingerprint=info.fingerprint, command=line)
        yield folder, moved


def _another(folder: Sweep, plan: SweepPlan, info: ModelInfo) -> str | None:
    """How the plan that is kept differs; None where it does not, empty where there is none."""
    begun = folder.begun()
    if begun is None:
        return ""
    if not same_model(begun.header.fingerprint, info.fingerprint):
        return f"it is of {begun.header.model}"
    return begun.plan.differs(plan) or None


def _resumed(session: Session, name: str, chart: Path | None, force: bool) -> Steps[Swept | SweptGrid]:
    info = session.opened().info
    with taken(session.home, name, new=False) as folder:
        begun = folder.begun()
        assert begun is not None
        header, plan = begun
        check_model(header.fingerprint, header.model, info.fingerprint, info.name)
        if plan.dtype != info.dtype:
            raise ArtifactError(
                f"the sweep '{name}' was begun in {plan.dtype}, and {info.name} is open in {info.dtype}",
                f"open it with --dtype {plan.dtype}",
            )
        more = set(map(str, session.suppressed)) - set(plan.suppressed)
        if more and not any(chosen.deep for chosen in plan.selections):
            one = min(more)
            raise UsageError(f"{one} is suppressed now, and was not when the sweep '{name}' began", f"release {one}")
        adapters = adapters_again(session, plan)
        return (yield from _done(session, plan, folder, _since(plan, info), chart, force, adapters))


def _since(plan: SweepPlan, info: ModelInfo) -> list[str]:
    """What is otherwise than when a sweep was begun, and could show in the last digits."""
    now = versions()
    others = [f"{name} {plan.versions[name]}" for name in now if plan.versions.get(name, now[name]) != now[name]]
    if plan.device != info.device:
        others.append(plan.device)
    return [f"it was begun with {', '.join(others)}: the last digits may differ"] if others else []


def _done(
    session: Session,
    plan: SweepPlan,
    folder: Sweep | None,
    notes: list[str],
    chart: Path | None,
    force: bool,
    adapters: dict[AdapterShare, Adapter],
) -> Steps[Swept | SweptGrid]:
    """Run a plan, what is kept of it left out, and write what was asked for."""
    from sessions.comparisons.sweeping import run
    from sessions.evaluation.weighing import within

    opened = session.opened()
    done: list[SweepPoint] = []
    if folder is not None:
        done, lost = folder.kept(plan)
        notes = [*notes, *lost]
        if done:
            notes.append(f"{len(done):,} of {len(plan.places):,} cells were done already")
    write = None if folder is None else folder.append
    inside = {"within": within(session.arm_sources(), plan, adapters)} if plan.weighs else {}
    answers = yield from run(opened, plan, done, write, session.cancel, **inside)
    if answers.fits:
        notes = [*notes, f"there was not enough memory for all texts of a batch: {answers.fits} at once were generated"]
    result = shown(session, plan, answers, [*notes, *remarks(plan, answers.cells)])
    if folder is not None:
        files = {"cells.csv": table(answers.cells), "chart.svg": drawn(plan, answers, ".svg")}
        folder.finish({**files, "chart.png": drawn(plan, answers, ".png")})
        result = structs.replace(result, folder=str(folder.folder))
    if chart is not None:
        picture = drawn(plan, answers, chart.suffix)
        path = write_file(chart.absolute(), picture, force=force, what=f"'{chart}'")
        result = structs.replace(result, chart=str(path))
    session.last_output = LastOutput(text=answers.cells[plan.last].text, logits=answers.logits)
    return result
