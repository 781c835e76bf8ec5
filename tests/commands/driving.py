"""Running lines in a session, as the tests of the commands do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from commands import run
from sessions.events import Event, Failed, Result
from sessions.model.hooks import count_hooks
from sessions.session import Session


def events_of(session: Session, line: str) -> list[Event]:
    """Everything a line has to say."""
    return list(run(session, line))


def result(session: Session, line: str) -> Any:
    """What a line returns; it must not fail."""
    events = events_of(session, line)
    failures = [event for event in events if isinstance(event, Failed)]
    assert not failures, f"{line}: {failures}"
    return [event for event in events if isinstance(event, Result)][-1].value


def failure(session: Session, line: str) -> Failed:
    """How a line fails; it must, and once."""
    return failure_in(events_of(session, line))


def failure_in(events: list[Event]) -> Failed:
    """The one failure among events that hold no result."""
    assert not [event for event in events if isinstance(event, Result)]
    (failed,) = [event for event in events if isinstance(event, Failed)]
    return failed


def held(session: Session) -> dict[str, Any]:
    """All that a session holds between two commands."""
    names = ("model", "prompt", "circuit", "settings", "history", "last_output", "files", "suppressed", "live", "sae")
    return {name: getattr(session, name) for name in names}


@contextmanager
def unharmed(session: Session) -> Iterator[None]:
    """Whatever happens in the block, the session and its model are as before, and the next command works."""
    before, traces = held(session), _traces(session)
    yield
    after = held(session)
    assert all(after[name] is value for name, value in before.items())
    assert _traces(session) == traces
    assert result(session, "info").state == session.state()


def _traces(session: Session) -> tuple[Any, ...]:
    """What a command that was not unwound would leave behind."""
    entries = () if session.ledger is None else session.ledger.entries
    edits = tuple((entry.edit.name, entry.on) for entry in entries)
    switches = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), edits)
    if session.model is None:
        return switches
    model = session.model.model
    wants_gradients = any(parameter.requires_grad for parameter in model.parameters())
    return *switches, count_hooks(model), model.config._attn_implementation, model.training, wants_gradients
