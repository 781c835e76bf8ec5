"""A subspace that was cut out of the weights, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.interventions.arms import Arm
from sessions.results import SubspaceCut
from sessions.session import Session
from sessions.surgery.cuts import LayerCut

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
