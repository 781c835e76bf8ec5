"""What a host said to a client that watched it at the main job, recorded: the panes are shown it, as it was heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.app.host_listener import Heard, heard
from workbench.app.session_view import SessionView
from workbench.host.messages import read_reply

RECORDED = Path(__file__).parents[2] / "data" / "app" / "capital.jsonl"


@pytest.fixture(scope="session")
def recorded() -> list[Heard]:
    """Everything heard: model, prompt, generate, top, discover, neurons, ablate, amplify, sweep, and two failures."""
    replies = [read_reply(line) for line in RECORDED.read_bytes().splitlines()]
    return [each for each in map(heard, replies) if each is not None]


@pytest.fixture
def view(recorded: list[Heard]) -> SessionView:
    """A view at the end of it."""
    view = SessionView()
    for each in recorded:
        view.feed(each)
    return view
