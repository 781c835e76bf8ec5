"""Two saved things beside each other: circuits, vectors, a circuit and a vector, rounds of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.artifacts import Key
from sessions.circuits.circuit import Circuit
from sessions.errors import ArtifactError
from sessions.events import Steps
from sessions.model.info import same_model
from sessions.results import CircuitHeldAgainst, CircuitsCompared, RoundsCompared, VectorsCompared
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.directions.vector import Vector
    from sessions.session import Session

#: The word for the session's own circuit, where saved things are named.
CURRENT = "current"


def two_circuits(session: Session, first: Key, second: Key, top: int | None, force: bool) -> CircuitsCompared:
    """Two circuits, whatever models they were made on."""
    from sessions.circuits.comparing import compared

    ours, theirs = circuit_named(session, first), circuit_named(session, second)
    notes = of_one_model(first, ours, second, theirs, force)
    return CircuitsCompared(names=(str(first), str(second)), comparison=compared(ours, theirs, top), notes=notes)


def two_vectors(session: Session, first: Key, second: Key, force: bool) -> VectorsCompared:
    """Two vectors, layer by layer."""
    from sessions.circuits.against import beside

    ours, theirs = (session.saved.read_vector(key.name, force=True)[0] for key in (first, second))
    notes = of_one_model(first, ours, second, theirs, force)
    names, sites = (first.name, second.name), (ours.site, theirs.site)
    return VectorsCompared(names=names, sites=sites, layers=beside(ours, theirs), notes=notes)


def two_rounds(session: Session, first: str, second: str, force: bool) -> RoundsCompared:
    """Two rounds of training, and remarks on what differs in their samples and models."""
    from sessions.training.comparing import compared
    from sessions.training.round import Rounds

    shelf = Rounds(session.store)
    ours, theirs = shelf.load(first), shelf.load(second)
    alike, notes = same_model(ours.fingerprint, theirs.fingerprint), []
    if not alike:
        problem = f"round '{first}' was trained on {ours.model} and '{second}' on {theirs.model}"
        if not force:
            raise ArtifactError(problem, "compare them nevertheless with --force")
        notes.append(problem)
    if ours.samples != theirs.samples:
        notes.append("they were trained on other samples: only the means of their losses stand side by side")
    elif ours.data != theirs.data:
        notes.append("their samples have the same names, and other tokens or weights")
    if bool(ours.outcome.gradient) != bool(theirs.outcome.gradient):
        notes.append(f"round '{second if ours.outcome.gradient else first}' does not have its gradient by projection")
    recruits = shelf.recruits(first)
    measured = sum(len(row) for row in recruits.scores[recruits.usual].values()) if alike and recruits.scores else None
    return RoundsCompared(names=(first, second), comparison=compared(ours, theirs, measured), notes=tuple(notes))


def circuit_and_vector(session: Session, circuit: Key, vector: Key, top: int, force: bool) -> Steps[CircuitHeldAgainst]:
    """How much of a vector a circuit's neurons can write, and which neurons both name."""
    from sessions.circuits.against import held_against, overlap
    from sessions.circuits.comparing import attribution_by_unit

    opened = session.opened()
    ours = session.found() if circuit.kind == CURRENT else session.saved.read_circuit(circuit.name, force=force)[0]
    theirs, notes = session.saved.read_vector(vector.name, force=force)
    spans, ranks = yield from held_against(opened.anatomy, ours, theirs, session.cancel)
    shared = yield from overlap(opened.anatomy, ours, theirs, top, session.cancel)
    return CircuitHeldAgainst(
        circuit=str(circuit),
        size=len(attribution_by_unit(ours)),
        vector=vector.name,
        site=theirs.site,
        spans=spans,
        ranks=ranks,
        overlap=shared,
        notes=notes,
    )


def circuit_named(session: Session, key: Key) -> Circuit:
    """A circuit, whatever model it was made on."""
    return session.found() if key.kind == CURRENT else session.saved.read_circuit(key.name, force=True)[0]


def of_one_model(
    first: Key, ours: Circuit | Vector, second: Key, theirs: Circuit | Vector, force: bool
) -> tuple[str, ...]:
    """A remark where two things were made on different models and are compared all the same."""
    if ours.fingerprint == theirs.fingerprint or not (ours.fingerprint and theirs.fingerprint):
        return ()
    problem = f"{first} was made on {ours.model} and {second} on {theirs.model}"
    if ours.model == theirs.model:
        problem += f" with other weights ({ours.fingerprint[:12]}, {theirs.fingerprint[:12]})"
    if force:
        return (problem,)
    raise ArtifactError(problem, "compare them nevertheless with --force")
