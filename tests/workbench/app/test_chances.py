"""The next token: a distribution, or before and after an intervention, in whatever width there is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from commands.grammar import parse
from sessions.events import Result, Started
from sessions.model.info import Encoded, Prompt, TokenChance
from sessions.results import Distribution
from tests.workbench.app.alone import Alone, alone, press
from tests.workbench.app.telling import about, fed, rows, shown, until
from workbench.app.host_listener import Heard
from workbench.app.panes.chances import ChancesPane
from workbench.app.session_view import SessionView

ENCODED = Encoded(prompt=Prompt(text="Hello"), text="Hello", ids=(1,), tokens=("Hello",), bos=0, templated=False)


def distribution(*texts: str) -> SessionView:
    """A view with a distribution over these tokens."""
    chances = tuple(TokenChance(n, text, 1 / (n + 2), -float(n), n + 1) for n, text in enumerate(texts))
    return fed(about("a", Started("", "top"), Result(Distribution(encoded=ENCODED, chances=chances)), end=True))


def test_a_distribution_has_ranks_tokens_chances_and_bars(recorded: list[Heard]) -> None:
    pane = ChancesPane()
    text = shown(pane, until(recorded, "top"), (34, 9))
    assert text[0] == '1 " Austin"     0.609 ██████▊'
    assert text[1] == '2 " Houston"    0.087 █'
    assert pane.facts == 'after …" of Texas is"'


def test_with_more_room_it_has_logits_and_ids(recorded: list[Heard]) -> None:
    assert shown(ChancesPane(), until(recorded, "top"), (80, 9))[0].endswith("+11.684   19292")


def test_a_text_generated_shows_its_first_token_s_chances(recorded: list[Heard]) -> None:
    assert shown(ChancesPane(), until(recorded, "generate"), (34, 9))[0].startswith(' 1 "The"         0.681 █')


def test_a_comparison_shows_before_above_after_with_the_target_marked(view: SessionView) -> None:
    text = shown(ChancesPane(), view, (34, 12))
    assert text[0].startswith("baseline/ablated  ● target")
    at = text.index('● " Austin"    0.609 ███████▉')
    assert text[at + 1] == "        -0.609 1e-05 ▏"
    assert any(row.startswith('○ " Houston"') for row in text)


def test_with_more_room_before_and_after_stand_side_by_side(view: SessionView) -> None:
    text = shown(ChancesPane(), view, (80, 12))
    assert text[0].split() == ["baseline", "ablated", "change"]
    row = next(row for row in text if row.startswith('● " Austin"'))
    assert row.split() == ["●", '"', 'Austin"', "0.609", "███████▎", "1e-05", "▏", "-0.609", "target"]


def test_the_cursor_is_on_a_token_which_enter_discovers(view: SessionView) -> None:
    pane = ChancesPane()

    async def steps(app: Alone, pilot: Pilot[None]) -> None:
        assert pane.chosen() == " the"
        await press(pilot, "down")
        assert pane.chosen() == " Austin"
        await press(pilot, "enter")
        assert app.typed == ['discover " Austin"']
        parse(app.typed[0])
        await press(pilot, *["down"] * 9)
        assert any(f'"{pane.chosen()}"' in row for row in rows(pane))
        assert pane.facts.endswith("↓")
        await press(pilot, "end")
        assert not pane.facts.endswith("↓")
        assert rows(pane)[0].startswith("baseline/ablated")

    alone(pane, view, steps, (34, 8))


def test_a_hundred_thousand_tokens_cost_what_is_seen_of_them() -> None:
    text = shown(ChancesPane(), distribution(*(f"token{n}" for n in range(100_000))), (40, 8), "end")
    assert text[-1].startswith('100000 "token99999"')


def test_without_a_distribution_the_pane_says_how_to_get_one() -> None:
    assert "  top" in shown(ChancesPane(), fed([]), (34, 9))


def test_everything_can_be_taken_out_as_text(view: SessionView) -> None:
    pane = ChancesPane()
    shown(pane, view, (34, 8))
    assert '● " Austin"' in pane.text() and len(pane.text().splitlines()) > 10


@pytest.mark.parametrize("line", ["top", "generate", "ablate"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (12, 3), (40, 10), (300, 80)])
def test_no_size_is_too_small_or_too_large(recorded: list[Heard], line: str, size: tuple[int, int]) -> None:
    assert len(shown(ChancesPane(), until(recorded, line), size, "down", "end", "pageup", "up")) == size[1]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=8), st.integers(10, 90))
def test_any_tokens_can_be_shown(texts: list[str], width: int) -> None:
    text = shown(ChancesPane(), distribution(*texts), (width, 10), "enter")
    assert sum(bool(row) for row in text) == len(texts)
