"""Hosts for all that has to do with them: a nursery, where they begin at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.workbench.host.nursery import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A process with torch and transformers in it, from which hosts are forked."""
    opened = Nursery()
    yield opened
    opened.close()


@pytest.fixture
def forking(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the test a host that has to be started is forked from the nursery."""
    monkeypatch.setattr("workbench.host.starting._spawned", nursery.spawned)
