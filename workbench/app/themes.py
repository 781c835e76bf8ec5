"""The themes, and the choice of one for a terminal.

`16-colour` uses the terminal's own colours only. `no-colour` uses none: bold, dim and reverse stand for them. A filter
enforces both, whatever a widget draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

DARK, LIGHT, SIXTEEN, NONE = "dark", "light", "16-colour", "no-colour"

_REVERSED = {
    "ansi-background": "ansi_default",
    "ansi-foreground": "ansi_default",
    "block-cursor-text-style": "reverse",
    "input-cursor-text-style": "reverse",
    "block-cursor-foreground": "ansi_default",
    "block-cursor-background": "ansi_default",
    "input-cursor-foreground": "ansi_default",
    "input-cursor-background": "ansi_default",
    "border": "ansi_default",
    "border-blurred": "ansi_default",
    "scrollbar": "ansi_default",
    "scrollbar-hover": "ansi_default",
    "scrollbar-active": "ansi_default",
    "scrollbar-background": "ansi_default",
    "scrollbar-background-hover": "ansi_default",
    "scrollbar-background-active": "ansi_default",
    "text-muted": "ansi_default",
    "text-disabled": "ansi_default",
    "foreground-muted": "ansi_default",
}


def _inks(text: str, muted: str, border: str) -> dict[str, str]:
    """The colours of texts and frames. Textual's own follow the ground of a widget, which drawn lines do not know."""
    return {"text": text, "text-muted": muted, "text-disabled": muted, "border-blurred": border}


def _of_terminal(name: str, **colours: str) -> Theme:
    """A theme of the terminal's own colours; colours that are not named have the terminal's default."""
    plain = dict.fromkeys(
        ("primary", "secondary", "warning", "error", "success", "accent", "foreground", "background", "surface"),
        "ansi_default",
    )
    named = {key: f"ansi_{value}" for key, value in colours.items() if key in plain}
    more = {key.replace("_", "-"): f"ansi_{value}" for key, value in colours.items() if key not in plain}
    return Theme(name, **{**plain, **named}, ansi=True, variables=_REVERSED | more)  # type: ignore[arg-type]


THEMES: Mapping[str, Theme] = {
    theme.name: theme
    for theme in (
        Theme(
            DARK,
            primary="#5fa8d3",
            secondary="#7aa2c4",
            accent="#e0b060",
            warning="#e0b060",
            error="#e06c75",
            success="#8cc28c",
            foreground="#d0d4d8",
            background="#14171a",
            surface="#1b1f23",
            panel="#252a30",
            variables=_inks("#d0d4d8", "#9aa1a8", "#4a525a"),
        ),
        Theme(
            LIGHT,
            primary="#0a5c94",
            secondary="#35688c",
            accent="#8a5200",
            warning="#8a5200",
            error="#b3202c",
            success="#256b2b",
            foreground="#1c2024",
            background="#fbfbf9",
            surface="#f1f1ee",
            panel="#e4e5e2",
            dark=False,
            variables=_inks("#1c2024", "#555b61", "#a0a6ac"),
        ),
        _of_terminal(
            SIXTEEN,
            primary="cyan",
            secondary="blue",
            accent="yellow",
            warning="yellow",
            error="red",
            success="green",
            scrollbar="blue",
        ),
        _of_terminal(NONE),
    )
}


def suited(environment: Mapping[str, str]) -> str:
    """The theme for a terminal, judged by its environment variables."""
    if environment.get("NO_COLOR"):
        return NONE
    term = environment.get("TERM", "")
    many = "256color" in term or "direct" in term or environment.get("COLORTERM", "") in ("truecolor", "24bit")
    return DARK if many or term.startswith(("xterm-kitty", "alacritty", "foot", "xterm-ghostty")) else SIXTEEN


@lru_cache(4096)
def _of_sixteen(style: Style) -> Style:
    """The style in the sixteen standard colours."""
    colours = [each.downgrade(ColorSystem.STANDARD) if each else None for each in (style.color, style.bgcolor)]
    return style + Style.from_color(*colours)


@lru_cache(4096)
def _colourless(style: Style) -> Style:
    return style.without_color + Style(link=style.link) if style.link else style.without_color


class Sixteen(LineFilter):
    """Replaces each colour by the nearest of the sixteen."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, style and _of_sixteen(style), control) for text, style, control in segments]


class Colourless(LineFilter):
    """Removes all colours."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, style and _colourless(style), control) for text, style, control in segments]


FILTERS: Mapping[str, LineFilter] = {SIXTEEN: Sixteen(), NONE: Colourless()}
