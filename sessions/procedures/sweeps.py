"""A sweep of the session: begun or continued in its folder, run, and written out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.artifacts import check_model
from sessions.circuits.selection import Selection
from sessions.comparisons.sweep_files import table, taken
from sessions.comparisons.sweep_points import SweepPoint
from sessions.errors import ArtifactError, Cancelled, UsageError
from sessions.events import Steps, with_partials
from sessions.files.disk import write_file
from sessions.last_output import LastOutput
from sessions.model.info import same_model
from sessions.procedures.sweep_results import drawn, remarks, swept_so_far
from sessions.procedures.sweep_results import result as shown
from sessions.results import Swept, SweptGrid
from sessions.session import Session
from sessions.versions import versions

if TYPE_CHECKING:
    from sessions.comparisons.sweep_files import Sweep
    from sessions.comparisons.sweep_plan import AdapterShare, Chosen, SweepPlan
    from sessions.edits.adapters import Adapter
    from sessions.model.info import ModelInfo
    from sessions.model.pieces import Engine


def check_ready(session: Session, prompts: Path | None) -> None:
    """Raise where there is no model, or no prompt: what is missing first is said first."""
    session.opened()
    if prompts is None:
        session.encoded()


def chosen_neurons(selection: Selection, at: str, many: bool) -> Chosen:
    """A selection as the plan keeps it. On many prompts a position means something only from the end."""
    from sessions.comparisons.sweep_plan import Chosen

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
def kept_sweep(
    session: Session, name: str, plan: SweepPlan, line: str, force: bool
) -> Iterator[tuple[Sweep, list[str]]]:
    """The folder of a sweep that begins, or that the same line goes on with, and remarks."""
    info, moved = session.opened().info, []
    with taken(session.home, name, new=True) as folder:
        try:
            wrong = difference_from(folder, plan, info)
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


def difference_from(folder: Sweep, plan: SweepPlan, info: ModelInfo) -> str | None:
    """How the plan that is kept differs; None where it does not, empty where there is none."""
    begun = folder.begun()
    if begun is None:
        return ""
    if not same_model(begun.header.fingerprint, info.fingerprint):
        return f"it is of {begun.header.model}"
    return begun.plan.differs(plan) or None


def resumed_sweep(
    session: Session, name: str, chart: Path | None, force: bool, engine: Engine
) -> Steps[Swept | SweptGrid]:
    """A saved sweep, continued."""
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
        return (yield from run_sweep(session, plan, folder, changes_since(plan, info), chart, force, adapters, engine))


def changes_since(plan: SweepPlan, info: ModelInfo) -> list[str]:
    """What is otherwise than when a sweep was begun, and could show in the last digits."""
    now = versions()
    others = [f"{name} {plan.versions[name]}" for name in now if plan.versions.get(name, now[name]) != now[name]]
    if plan.device != info.device:
        others.append(plan.device)
    return [f"it was begun with {', '.join(others)}: the last digits may differ"] if others else []


def run_sweep(
    session: Session,
    plan: SweepPlan,
    folder: Sweep | None,
    notes: list[str],
    chart: Path | None,
    force: bool,
    adapters: dict[AdapterShare, Adapter],
    engine: Engine,
) -> Steps[Swept | SweptGrid]:
    """Run a plan, what is kept of it left out, and write what was asked for."""
    from sessions.comparisons.sweeping import run
    from sessions.evaluation.weighing import states_of

    opened = session.opened()
    done: list[SweepPoint] = []
    if folder is not None:
        done, lost = folder.kept(plan)
        notes = [*notes, *lost]
        if done:
            notes.append(f"{len(done):,} of {len(plan.places):,} cells were done already")
    cells = list(done)

    def write(batch: Sequence[SweepPoint]) -> None:
        if folder is not None:
            folder.append(batch)
        cells.extend(batch)

    states = states_of(plan, adapters) if plan.weighs else None
    steps = run(opened, plan, done, write, states=states, engine=engine)
    try:
        answers = yield from with_partials(steps, lambda: swept_so_far(plan, cells))
    except Cancelled as cancelled:
        if folder is not None and cells:
            cancelled.hint = (
                f"{len(cells):,} of {len(plan.places):,} cells are kept: sweep --resume {folder.name} goes on"
            )
        raise
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


def adapters_again(session: Session, plan: SweepPlan) -> dict[AdapterShare, Adapter]:
    """The adapters of a sweep that is gone on with."""
    from sessions.evaluation.weighing import read_again

    return read_again(session.arm_sources(), plan) if plan.weighs else {}


def left_out_of_sweep(session: Session, chosen: Sequence[Chosen]) -> Iterator[str]:
    """What is on and has no part in the sweep."""
    names = [edit.name for edit in session.edits().active]
    if names:
        yield f"left out of every row, and on again now: {', '.join(names)}"
    if session.suppressed and any(selection.deep for selection in chosen):
        yield f"the {len(session.suppressed):,} suppressed neurons were not suppressed in it"
