"""`sweep`: a grid of multipliers, selections and prompts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from commands.attributing import prompts_with_targets
from commands.interventions import FAMILY, doubts, target_of
from commands.limits import Limits, limit_options
from commands.names import FileName, Name
from commands.prompting import decoded
from commands.swept import check_chart, drawn, remarks
from commands.swept import result as shown
from commands.verb import argument, option, verb
from commands.weighing import Mixture, adapters_again, is_number, left_out, numbers, weighed_adapters
from commands.words import Length, SelectionWord, SweptWord, Whole, Word
from sessions.circuits.selection import Selection, terms
from sessions.disk import write_file
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.interventions.cells import Cell
from sessions.interventions.sweep_files import names, table, taken
from sessions.interventions.treatment import Where
from sessions.journal import versions
from sessions.lines import line_of
from sessions.model.info import same_model
from sessions.results import Swept, SweptGrid
from sessions.session import Reading, Session
from sessions.store import check_model

if TYPE_CHECKING:
    from sessions.edits.adapters import Adapter
    from sessions.interventions.sweep_files import Sweep
    from sessions.interventions.sweeping import Chosen, Plan, Question, Share
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


@verb("sweep", family=FAMILY, example="sweep top50 0 0.5 1 1.5 2")
@argument(
    "words",
    help="a selection (default: the whole circuit), then multipliers (default: 0 0.5 1 1.5 2)",
    type=SweptWord(),
    nargs=-1,
    metavar="[SELECTION] [MULTIPLIER…]",
)
@option("--adapter", type=Mixture(), multiple=True, help="sweep the weight of adapters: fr, fr*0.5+es, depths:crab")
@option("--against", type=Mixture(), help="with --adapter: adapters that go down as those go up, fr 0.2 and es 0.8")
@option("--also", type=AnotherSelection(), multiple=True, help="another selection; may be given several times")
@option("--prompts", type=FileName(".jsonl"), help="a file of prompts, with their targets, instead of the prompt")
@option("--raw", is_flag=True, help="with --prompts: read all of them without the chat template")
@limit_options
@option("--max-tokens", type=Length(), help="tokens to generate at most (default: the setting max_tokens)")
@option("--batch", type=Whole(), help="texts generated at once, which bounds the memory (default: 32)")
@option("--save", type=SweepName(), help="keep it under this name; the same line again goes on where it stopped")
@option("--resume", type=SweepName(), help="go on with a sweep that was kept; nothing but the model is needed")
@option("--chart", type=FileName(".svg"), help="write the chart to this file, .svg or .png")
@option("--force", is_flag=True, help="replace the chart's file, and move another sweep of that name to the trash")
def sweep(
    session: Session,
    words: tuple[str, ...],
    adapter: tuple[str, ...],
    against: str | None,
    also: tuple[str, ...],
    prompts: Path | None,
    raw: bool,
    max_tokens: int | None,
    batch: int | None,
    save: str | None,
    resume: str | None,
    chart: Path | None,
    force: bool,
    **limits: Any,
) -> Steps[Swept | SweptGrid]:
    """Run a range of multipliers on the same neurons, as one batched job.

    Shows the target's probability and the text at each multiplier, and the knee: the multiplier nearest to 1
    at which the likeliest next token is another. With --also and --prompts it is a grid: every selection at
    every multiplier on every prompt.

    With --adapter the multipliers are weights of kept adapters, and the knee is the weight nearest to 0, where none of
    them is in the model: sweep --adapter fr 0 0.5 1. fr*0.5+es scales two together; --adapter fr --against es lets es
    go from 1 to 0 as fr goes from 0 to 1; depths:SERIES takes in the first 0, 1, 2, … rounds of a series, each with
    its share, and nothing suppressed. Each row is the model as it was opened with those adapters alone. They need not
    be on, and afterwards the model is as it was.

    With --save, every batch is written down as it ends, in sweeps/NAME of the home folder: a line of JSON for
    each answer, and in the end a table and charts. Broken off, by esc or by a crash, it goes on with the same
    line, or with sweep --resume NAME, and comes to the same file.
    """
    check_chart(chart, force)
    if resume is not None:
        given: dict[str, Any] = {"a selection": words, "--also": also, "--prompts": prompts, "--raw": raw}
        given |= {"--adapter": adapter, "--against": against}
        given |= {"--save": save, "--max-tokens": max_tokens, "--batch": batch}
        region, at = limits.pop("region"), limits.pop("at")
        given |= {"--at": at != "all", f"--{region}": region != "all"}
        _refuse(given | {f"--{name}": value for name, value in limits.items()})
        return (yield from _resumed(session, resume, chart, force))
    adapters: dict[Share, Adapter] = {}
    if adapter or against:
        _refuse_with_adapters(adapter, also, limits)
        chosen, multipliers, adapters = weighed_adapters(session, words, adapter, against)
        plan, notes = yield from _weighing(session, chosen, multipliers, prompts, raw, max_tokens, batch)
    else:
        plan, notes = yield from _planned(session, words, also, prompts, raw, max_tokens, batch, **limits)
    if save is None:
        return (yield from _done(session, plan, None, notes, chart, force, adapters))
    said: dict[str, Any] = {"adapter": adapter, "against": against, "also": also, "prompts": prompts, "raw": raw}
    said |= {"max_tokens": max_tokens, "batch": batch, "save": save}
    with _kept(session, save, plan, _line(words, said | limits), force) as (folder, moved):
        return (yield from _done(session, plan, folder, [*notes, *moved], chart, force, adapters))


def _refuse_with_adapters(adapter: tuple[str, ...], also: tuple[str, ...], limits: dict[str, Any]) -> None:
    """Raise for what says nothing about adapters."""
    example = "for example: sweep --adapter fr --against es 0 0.5 1"
    if not adapter:
        raise UsageError("--against needs adapters that go up", example)
    if also:
        raise UsageError("--also is for neurons", "give --adapter once more: sweep --adapter fr --adapter es 0 0.5 1")
    given = {f"--{limits['region']}": limits["region"] != "all", "--at": limits["at"] != "all"}
    given |= {f"--{name}": value for name, value in limits.items() if name not in ("region", "at")}
    wrong = next((name for name, value in given.items() if value not in (None, False, (), "")), None)
    if wrong is not None:
        raise UsageError(f"{wrong} is for neurons: an adapter is in the whole text", example)


def _refuse(given: dict[str, Any]) -> None:
    """Raise for the first thing that a plan which is kept says already."""
    wrong = next((name for name, value in given.items() if value not in (None, False, ())), None)
    if wrong is not None:
        raise UsageError(f"{wrong} does not go with --resume, which knows it all", "for example: sweep --resume texas")


def _swept(words: tuple[str, ...]) -> tuple[str, tuple[float, ...]]:
    """The selection and the multipliers of a sweep: everything up to the first number is the selection."""
    kinds = [is_number(word) for word in words]
    first = kinds.index(True) if True in kinds else len(words)
    text = " ".join(words[:first]) or "all"
    terms(text)
    return text, numbers(words[first:]) or MULTIPLIERS


def _planned(
    session: Session,
    words: tuple[str, ...],
    also: tuple[str, ...],
    prompts: Path | None,
    raw: bool,
    max_tokens: int | None,
    batch: int | None,
    at: str,
    **limits: Any,
) -> Steps[tuple[Plan, list[str]]]:
    """The plan that a line makes, and remarks on it."""
    from sessions.interventions.sweeping import ROWS, Plan

    text, multipliers = _swept(words)
    texts = (text, *also)
    if len(set(texts)) < len(texts):
        raise UsageError("a selection is given twice", "for example: sweep top10 0 1 2 --also top50")
    info = _ready(session, prompts, raw)
    chosen = [session.select(each, length=None if prompts is None else 0) for each in texts]
    where = Limits(**limits)
    questions, notes = yield from _questions(session, prompts, raw, where)
    plan = Plan(
        dtype=info.dtype,
        selections=tuple(_chosen(each, at, prompts is not None) for each in chosen),
        multipliers=multipliers,
        prompts=questions,
        decoding=decoded(session, max_tokens=max_tokens, length=max(len(each.ids) for each in questions)),
        live=session.in_force,
        suppressed=tuple(map(str, session.suppressed)),
        batch=batch or ROWS,
        scope=str(Where(where.region, where.positions or ())) if where != Limits() else at,
        device=info.device,
        versions=versions(),
    )
    return plan, notes


def _ready(session: Session, prompts: Path | None, raw: bool) -> ModelInfo:
    """The open model. What is missing first is said first."""
    if raw and prompts is None:
        raise UsageError("--raw is for a file of prompts", "for example: sweep top50 --prompts keys.jsonl --raw")
    info = session.opened().info
    if prompts is None:
        session.encoded()
    return info


def _weighing(
    session: Session,
    chosen: tuple[Chosen, ...],
    multipliers: tuple[float, ...],
    prompts: Path | None,
    raw: bool,
    max_tokens: int | None,
    batch: int | None,
) -> Steps[tuple[Plan, list[str]]]:
    """The plan of a sweep of adapters, and remarks on it."""
    from sessions.interventions.sweeping import ROWS, Plan

    info = _ready(session, prompts, raw)
    with session.edits().lifted():
        questions, notes = yield from _questions(session, prompts, raw, Limits())
    deep = any(each.deep for each in chosen)
    plan = Plan(
        dtype=info.dtype,
        selections=chosen,
        multipliers=multipliers,
        prompts=questions,
        decoding=decoded(session, max_tokens=max_tokens, length=max(len(each.ids) for each in questions)),
        live=session.in_force,
        suppressed=() if deep else tuple(map(str, session.suppressed)),
        batch=batch or ROWS,
        scope="on the model as it was opened" + (", nothing suppressed" if deep else ""),
        device=info.device,
        versions=versions(),
    )
    return plan, [*notes, *left_out(session, chosen)]


def _questions(
    session: Session, prompts: Path | None, raw: bool, limits: Limits
) -> Steps[tuple[tuple[Question, ...], list[str]]]:
    """The prompts with their targets, and remarks on them."""
    from sessions.interventions.sweeping import question

    if prompts is None:
        encoded = session.encoded()
        return (question(encoded, target_of(session), limits.where(session, encoded)),), list(doubts(session))
    cases, notes = yield from prompts_with_targets(session, prompts, raw)
    return tuple(question(case.encoded, case.target, limits.where(session, case.encoded)) for case in cases), notes


def _chosen(selection: Selection, at: str, many: bool) -> Chosen:
    """A selection as the plan keeps it. On many prompts a position means something only from the end."""
    from sessions.interventions.sweeping import Chosen

    neurons = selection.spread(at)
    placed = (neuron for neuron in neurons if neuron.position is not None and neuron.position >= 0)
    wrong = next(placed, None) if many else None
    if wrong is not None:
        raise UsageError(
            f"'{selection.text}' has neurons at positions of one prompt, such as {wrong}, and --prompts are many",
            "leave the positions out (no --at circuit), or take a circuit that was found on many prompts",
        )
    return Chosen(selection.text, tuple(map(str, neurons)))


def _line(words: tuple[str, ...], said: dict[str, Any]) -> str:
    """The line that makes a plan, as it is kept with it."""
    spans = said.pop("positions") or ()
    said["positions"] = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
    region = said.pop("region")
    if said["at"] == "all":
        del said["at"]
    given = {"--" + name.replace("_", "-"): None if value == "" else value for name, value in said.items()}
    return line_of(["sweep", *words], {f"--{region}": region != "all", **given})


@contextmanager
def _kept(session: Session, name: str, plan: Plan, line: str, force: bool) -> Iterator[tuple[Sweep, list[str]]]:
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
                f"the sweep '{name}' is another one: {wrong}",
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


def _another(folder: Sweep, plan: Plan, info: ModelInfo) -> str | None:
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
            raise UsageError(f"{one} is suppressed, and was not when the sweep '{name}' was begun", f"release {one}")
        adapters = adapters_again(session, plan)
        return (yield from _done(session, plan, folder, _since(plan, info), chart, force, adapters))


def _since(plan: Plan, info: ModelInfo) -> list[str]:
    """What is otherwise than when a sweep was begun, and could show in the last digits."""
    now = versions()
    others = [f"{name} {plan.versions[name]}" for name in now if plan.versions.get(name, now[name]) != now[name]]
    if plan.device != info.device:
        others.append(plan.device)
    return [f"it was begun with {', '.join(others)}: the last digits may differ"] if others else []


def _done(
    session: Session,
    plan: Plan,
    folder: Sweep | None,
    notes: list[str],
    chart: Path | None,
    force: bool,
    adapters: dict[Share, Adapter],
) -> Steps[Swept | SweptGrid]:
    """Run a plan, what is kept of it left out, and write what was asked for."""
    from sessions.evaluation.weighing import within
    from sessions.interventions.sweeping import run

    opened = session.opened()
    done: list[Cell] = []
    if folder is not None:
        done, lost = folder.kept(plan)
        notes = [*notes, *lost]
        if done:
            notes.append(f"{len(done):,} of {len(plan.places):,} cells were there already")
    write = None if folder is None else folder.append
    inside = {"within": within(session, plan, adapters)} if plan.weighs else {}
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
    session.reading = Reading(text=answers.cells[plan.last].text, logits=answers.logits)
    return result
