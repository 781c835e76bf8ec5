"""The pictures of the app show the screen that there is now."""

from __future__ import annotations

import pytest

from manual import pictures
from manual.svg import self_contained, text_of
from tests.documents import pages
from workbench.app.shell import PANES


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_shows_what_the_app_draws_now(name: str) -> None:
    """What is written in it, not how: a picture drawn by another version of Textual is as good."""
    there = (pictures.FOLDER / f"{name}.svg").read_text("utf-8")
    assert text_of(there) == text_of(pictures.drawn(name)), "the screen has changed: run python -m manual"
    assert "http" not in there.replace("http://www.w3.org/2000/svg", "").replace("https://www.textualize.io", "")


def test_pictures_show_results() -> None:
    text = text_of((pictures.FOLDER / "app.svg").read_text("utf-8"))
    assert all(f"{number} {kind.heading}" in text for number, kind in PANES.items())
    assert "baseline" in text and "Austin." in text


def test_every_picture_is_on_a_page_and_none_is_left_over() -> None:
    text = "".join(path.read_text("utf-8") for path in pages().values())
    assert {path.stem for path in pictures.FOLDER.iterdir()} == set(pictures.PICTURES)
    assert [name for name in pictures.PICTURES if f"pictures/{name}.svg" not in text] == []


def test_a_pane_or_an_action_that_is_gone_is_named() -> None:
    with pytest.raises(ValueError, match="there is no pane 'Nowhere'"):
        pictures.keys_of(pictures.Picture("x", pane="Nowhere"))
    with pytest.raises(ValueError, match=r"there is no action 'app\.nothing'"):
        pictures.keys_of(pictures.Picture("x", actions=("app.nothing",)))
    with pytest.raises(ValueError, match="has no line of the verb surgery"):
        pictures.recorded("surgery")


def test_a_drawing_is_read_line_by_line_and_needs_no_font_of_others() -> None:
    svg = '<style>@font-face { src: url("https://x/y") }</style><text class="a" x="5" y="2">b&#160;c</text>'
    svg += '<text class="a" x="1" y="2">a</text><text class="a" x="0" y="1">first</text>'
    assert text_of(self_contained(svg)) == "first\na b c"
    assert "https" not in self_contained(svg)
