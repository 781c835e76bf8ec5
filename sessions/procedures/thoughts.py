"""How thoughts of the open model end, and positions that count from a prompt's end."""

from __future__ import annotations

from sessions.errors import UsageError
from sessions.session import Session


def _of_template(session: Session) -> str:
    from sessions.model.thinking import closing as of_template

    return of_template(session.opened().tokenizer)


def thinks(session: Session) -> bool:
    """Whether the open model's template knows thoughts. Where it knows none, all of a reply is its answer."""
    return bool(_of_template(session))


def closing(session: Session) -> str:
    """The text that ends a thought of the open model.

    Raises:
        UsageError: its template knows none.
    """
    marker = _of_template(session)
    if not marker:
        raise UsageError(
            f"the chat template of {session.opened().info.name} does not say how a thought ends",
            'name the text that ends it: --marker "</think>"',
        )
    return marker


def counted_span(span: tuple[int, int], length: int | None) -> tuple[int, int]:
    """A span whose positions from the end count from the prompt's start."""
    if length is None:
        if min(span) < 0:
            raise UsageError("positions from the end need a prompt, and none is set", "count from 0: 0, 3-7")
        return span
    first, last = (position + length if position < 0 else position for position in span)
    if first < 0:
        raise UsageError(f"the prompt has no position {span[0]}", f"its {length} positions are 0 to {length - 1}")
    return first, last
