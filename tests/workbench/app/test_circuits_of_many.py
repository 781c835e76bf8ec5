"""Circuits that were found on many prompts, or have no target, are shown for what they are."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from sessions.circuits.circuit import Circuit
from sessions.events import Result, State
from sessions.model.info import Prompt, Token
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.results import Discovered
from sessions.texts.prompt_files import PromptRecord
from tests.circuits import circuit_of
from tests.workbench.app.alone import SIZES, Alone, alone, lines, press
from tests.workbench.app.telling import about, fed
from workbench.app.pane import Pane
from workbench.app.panes.layers import LayersPane
from workbench.app.panes.neurons import NeuronsPane
from workbench.app.panes.shelf import ShelfPane
from workbench.app.session_view import SessionView

_PROMPTS = tuple(PromptRecord(prompt=text, target=" are") for text in ("The keys", "The dogs"))
_BARE = {"prompt": Prompt(text=""), "ids": (), "prompts": _PROMPTS}
COLLAPSED = circuit_of(
    [Unit(2, 5, None, 1.5, 2.0, 1.25), Unit(0, 7, None, -0.5, 1.0, -0.25)],
    (),
    **_BARE,
    target=Target(tokens=(), value=2.5, prompts=2),
    held="zero",
)
ALIGNED = circuit_of(
    [Unit(2, 5, -1, 1.5, 2.0), Unit(0, 7, -3, -0.5, 1.0)],
    (),
    **_BARE,
    target=Target(tokens=(Token(3, " are"),), counterfactual=Token(4, " is"), value=2.5, prompts=2),
)
CONTRAST = circuit_of(
    [Unit(2, 5, None, 8.5, 9.0)],
    (),
    prompt=Prompt(text=""),
    ids=(),
    target=Target(tokens=()),
    method="contrast",
    attention="",
    conservation=None,
)


def _view(circuit: Circuit) -> SessionView:
    held = State(model="smollm2", dtype="float32", device="cpu", circuit="unnamed", circuit_size=len(circuit))
    return fed(about("a", Result(Discovered(circuit=circuit, candidates=100)), held, end=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pane", [NeuronsPane, LayersPane, ShelfPane])
@pytest.mark.parametrize("circuit", [COLLAPSED, ALIGNED, CONTRAST], ids=["collapsed", "aligned", "contrast"])
def test_every_pane_shows_it(circuit: Circuit, pane: type[Pane], size: tuple[int, int]) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "right", "down", "left", "up")
        text = "\n".join(lines(app))
        if pane is ShelfPane:
            assert "+0.000" not in text
            assert ("no target" in text) == (circuit is CONTRAST)
        else:
            assert "2" in text and "nan" not in text.lower()

    alone(pane(), _view(circuit), then, size)


@pytest.mark.parametrize(
    ("circuit", "said"),
    [
        (COLLAPSED, ["mean target of 2 prompts", "+1.500 of +2.500", "at all positions", "+1.250"]),
        (ALIGNED, ['mean of logit " are" − logit " is" over 2 prompts', "at position -1"]),
        (CONTRAST, ["no target", "+8.500"]),
    ],
    ids=["collapsed", "aligned", "contrast"],
)
def test_a_card_says_what_its_numbers_are_of(circuit: Circuit, said: list[str]) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        text = app.screen.text()  # type: ignore[attr-defined]
        assert all(each in text for each in said), text
        assert "of +0.000" not in text

    alone(NeuronsPane(), _view(circuit), then)
