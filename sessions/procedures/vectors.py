"""A vector, decomposed at some of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sessions.errors import UsageError
from sessions.events import Steps
from sessions.results import VectorShown
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.directions.vector import Vector


def vector_shown(session: Session, name: str, layers: tuple[int, int] | None, force: bool) -> Steps[VectorShown]:
    """A saved vector, decomposed at those of its layers that are named."""
    vector, notes = session.saved.read_vector(name, force=force)
    first, last = layers or (0, max(vector.layers))
    chosen = [layer for layer in vector.layers if first <= layer <= last]
    if not chosen:
        raise UsageError(
            f"vector '{name}' has no direction in the layers {first}-{last}",
            f"it has layers {vector.layers[0]} to {vector.layers[-1]}",
        )
    return (yield from taken_apart(session, vector, chosen, notes))


def taken_apart(
    session: Session, vector: Vector, layers: Sequence[int], notes: tuple[str, ...] = ()
) -> Steps[VectorShown]:
    """A vector, decomposed at some of its layers."""
    from sessions.directions.decomposing import decomposed

    directions = yield from decomposed(session.opened(), vector, layers, cancel=session.cancel)
    return VectorShown(
        name=vector.name,
        site=vector.site,
        model=vector.model,
        prompts=(vector.positives, vector.negatives),
        directions=directions,
        origin=vector.origin,
        notes=notes,
    )
