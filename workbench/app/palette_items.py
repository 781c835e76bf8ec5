"""`PaletteItem`: an entry of the palette."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaletteItem:
    """An entry of the palette: a line to run, the beginning of a line to type, or an action of the app."""

    name: str
    about: str
    line: str = ""
    typed: str = ""
    action: str = ""
