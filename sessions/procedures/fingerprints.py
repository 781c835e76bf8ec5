"""The sha256 of the open model's weights."""

from __future__ import annotations

from sessions.events import Steps
from sessions.session import Session


def sha256_of_weights(session: Session) -> Steps[tuple[str, str]]:
    """sha256 of the weights as they are, and, where edits are in them, without these."""
    from sessions.model.fingerprint import of_bits

    model, ledger = session.opened().model, session.edits()
    now = yield from of_bits(model, session.cancel)
    if not ledger.active:
        return now, ""
    with ledger.lifted():
        return now, (yield from of_bits(model, session.cancel))
