"""`PaletteItem`: something that can be done, as the palette offers it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaletteItem:
    """A line to run, a line to go on with, or an action of the app."""

    name: str
    about: str
    line: str = ""
    typed: str = ""
    action: str = ""
