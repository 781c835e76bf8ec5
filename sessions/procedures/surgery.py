"""A subspace that was cut out of the weights, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sessions.files.disk import write_file
from sessions.interventions.arms import Arm
from sessions.results import ProblemsWritten, SubspaceCut
from sessions.session import Session
from sessions.surgery.cuts import LayerCut
from sessions.surgery.problem_texts import LANGUAGES
from sessions.surgery.problems import problems
from sessions.texts.parallel import written

if TYPE_CHECKING:
    from sessions.surgery.sources import SubspaceSource


def subspace_cut(
    session: Session,
    source: SubspaceSource,
    name: str,
    rows: tuple[LayerCut, ...],
    arms: tuple[Arm, ...],
    *,
    keeps: bool,
    attention: bool,
) -> SubspaceCut:
    """The result of a cut that has been applied and saved."""
    from sessions.edits.commuting import beside
    from sessions.surgery.cutting_out import remarks, writers

    opened, ledger = session.opened(), session.edits()
    notes = [*remarks(opened.anatomy, list(source.subspaces), attention)]
    if session.prompt is None:
        notes.insert(0, "no prompt is set, so no reply is compared")
    return SubspaceCut(
        name=name,
        what=source.what,
        keeps=keeps,
        writers=writers(attention),
        at=source.at if source.parallel is not None else "",
        versions=() if source.parallel is None else source.parallel.versions,
        prompts=len(source.versions),
        layers=rows,
        arms=arms,
        path=str(session.store.path("edit", name)),
        notes=(*notes, *beside(opened, ledger, ledger.entries[-1].edit)),
    )


def problems_written(
    session: Session, *, file: Path, count: int, seed: int, tasks: tuple[str, ...] | None, force: bool
) -> ProblemsWritten:
    """Problems, or tasks made of them, written to a file."""
    made = problems(count, seed)
    if tasks is None:
        lines = [problem.as_line() for problem in made]
    else:
        numbered = enumerate(made, 1)
        lines = [problem.as_task(language, number) for number, problem in numbered for language in tasks]
    path = write_file(file.absolute(), written(lines), force=force, what=f"'{file}'")
    kinds = [problem.kind for problem in made]
    return ProblemsWritten(
        path=str(path),
        seed=seed,
        languages=LANGUAGES if tasks is None else tasks,
        tasks=tasks is not None,
        lines=len(lines),
        kinds={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        first=dict(made[0].texts),
        answer=str(made[0].answer),
    )
