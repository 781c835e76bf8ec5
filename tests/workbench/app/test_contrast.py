"""Every text can be read on its ground: contrasts are those of WCAG 2, in every theme that has colours of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot
from textual.strip import Strip

from tests.workbench.app.still import Still, played
from workbench.app.host_listener import Heard
from workbench.app.themes import DARK, LIGHT

#: The least contrast of a text, and of one that is dimmed on purpose.
TEXT, DIM = 4.5, 3.0
#: Characters of frames and bars, which are no text.
DRAWN = set(" ─│┌┐└┘├┤┬┴┼▏▎▍▌▋▊▉█░▒▓━╸▁▂▃▄▅▆▇")
#: How far Textual moves a dim colour towards its ground.
FACTOR = 0.5
SCREENS: dict[str, tuple[str, ...]] = {
    "all": (),
    "history": ("f2", "up"),
    "result": ("f3", "down", "space"),
    "neurons": ("f4", "down", "space", "slash", "L"),
    "layers": ("f6", "right"),
    "shelf": ("f8",),
    "card": ("f4", "enter"),
    "palette": ("ctrl+p", "a"),
    "help": ("f1",),
    "jump": ("ctrl+o",),
    "completion": (*"disc", "tab"),
    "error": (*"abalte", "enter"),
}


def contrast(segment: Segment) -> float:
    """The contrast of a segment's colours as they come to the screen."""
    style = segment.style
    assert style is not None and style.color is not None and style.bgcolor is not None
    ink, ground = (Color.from_rich_color(colour) for colour in (style.color, style.bgcolor))
    if style.reverse:
        ink, ground = ground, ink
    return ratio(ink.blend(ground, FACTOR) if style.dim else ink, ground)


def ratio(one: Color, other: Color) -> float:
    """The contrast of two colours: their luminances, each 0.05 brighter, by one another."""
    lighter, darker = sorted(map(luminance, (one, other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: Color) -> float:
    """The relative luminance of a colour in sRGB, from 0 to 1."""
    parts = [part / 255 for part in (colour.r, colour.g, colour.b)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def drawn(app: Still) -> Iterator[Strip]:
    """The rows of the screen; of one that lies over others, what is its own."""
    rows = app.screen._compositor.render_strips()
    if len(app.screen_stack) == 1:
        yield from rows
        return
    for widget in app.screen.children:
        area = widget.region
        yield from (row.crop(area.x, area.right) for row in rows[area.y : area.bottom])


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids="{0[0]}x{0[1]}".format)
def test_every_text_can_be_read_on_its_ground(
    tmp_path: Path, recorded: list[Heard], screen: str, size: tuple[int, int]
) -> None:
    app = Still(tmp_path, recorded, DARK)
    weak: dict[str, float] = {}

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press(*SCREENS[screen])
        await app.workers.wait_for_complete()
        for theme in (DARK, LIGHT):
            app.theme = theme
            await pilot.pause()
            for segment in (segment for row in drawn(app) for segment in row):
                if set(segment.text) <= DRAWN or segment.style is None:
                    continue
                least = DIM if segment.style.dim else TEXT
                if contrast(segment) < least - 0.005:
                    weak[f"{theme} {segment.text.strip()!r} {segment.style}"] = round(contrast(segment), 2)

    played(app, steps, size)
    assert not weak
