"""The log: numbered, bounded, and what passes goes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.host import log as module
from workbench.host.log import Log
from workbench.host.messages import Finished, read_reply


def said(log: Log, passing: bool) -> None:
    log.add(lambda number: Finished(number=number, ticket="one", author=""), passing)


def numbers(log: Log, since: int) -> tuple[int, list[int]]:
    missed, at, found = log.after(since, 2**30)
    assert at == log.next
    replies = [read_reply(entry.data) for entry in found]
    return missed, [reply.number for reply in replies if isinstance(reply, Finished)]


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 45))
def test_what_stays_is_what_came_last_and_what_lasts_stays_longest(passing: list[bool], since: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST", 10)
        log = Log()
        for each in passing:
            said(log, each)
    lasting = [number for number, passes in enumerate(passing, 1) if not passes]
    gone = max(len(lasting) - 10, 0)
    first = lasting[gone - 1] + 1 if gone else 1
    start = min(since, log.next)
    missed, kept = numbers(log, since)
    assert missed == max(first - start, 0)
    assert kept == sorted(kept) and len(kept) <= 10
    assert {number for number in lasting[gone:] if number >= since} <= set(kept)
    if len(passing) <= 10:
        assert kept == list(range(since, log.next))
