"""Where the pieces of a verb are computed: in this process, or by workers on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sessions.errors import UsageError
from sessions.events import Steps
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.cluster.workers import Workers
    from sessions.model.pieces import Engine

#: The workers of each session that has some; they end with its model.
_WORKERS: WeakKeyDictionary[Session, Workers] = WeakKeyDictionary()


def engine_of(session: Session, on: str | None, workers: int | None) -> Steps[Engine]:
    """What computes the pieces of a verb.

    Args:
        on: `ray` or `ray:ADDRESS`; None for this process.
        workers: how many at most; None for one a GPU or a CPU of the cluster.

    Raises:
        UsageError: Ray is not installed, no cluster answers or has room, or workers could not open the model.
    """
    if on is None:
        from sessions.model.pieces import one_by_one

        return one_by_one(session.arm_sources().working(session.cancel))
    from sessions.cluster.carried import CarriedState

    hired = yield from _hired(session, on.partition(":")[2], workers)
    state = CarriedState(session.state_key(), session.edits().active, session.suppressed)
    session.suppressions.notice()
    return hired.engine(state, session.cancel)


def cluster_of(session: Session, on: str | None, workers: int | None) -> Steps[Engine | None]:
    """As `engine_of`, None for this process."""
    return None if on is None else (yield from engine_of(session, on, workers))


def _hired(session: Session, address: str, most: int | None) -> Steps[Workers]:
    """The session's workers there; new ones where it has none, others, or another number."""
    from sessions.cluster.carried import carried
    from sessions.cluster.connecting import connected

    model = carried(session.opening, session.opened().info, session.store.models)
    hired = _WORKERS.get(session)
    if hired is not None and (hired.cluster.address != address or hired.lost):
        session.with_model.close()
        hired = None
    if hired is not None and (hired.model, hired.most) == (model, most):
        return hired
    from sessions.cluster.workers import Workers

    if hired is not None:
        others = Workers(hired.cluster, model, most)  # raises where there is no room for so many
        hired.close()
        _WORKERS[session] = others
        return others
    cluster = yield from connected(address)
    try:
        _WORKERS[session] = Workers(cluster, model, most)
    except UsageError:
        cluster.close()
        raise
    session.with_model.callback(_leave, session)
    return _WORKERS[session]


def _leave(session: Session) -> None:
    hired = _WORKERS.pop(session, None)
    if hired is not None:
        hired.close()
        hired.cluster.close()
