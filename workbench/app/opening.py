"""What `enter` does with a row: the line that shows or opens what the row stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from commands.calling import call_line
from sessions.views.blocks import StandsFor


class OpeningLine(NamedTuple):
    """A line, and whether it is run at once; else it is put into the command line, because it changes the session."""

    line: str
    at_once: bool


#: For each kind of thing the verb that shows it, and whether it only shows.
_VERBS: Mapping[str, tuple[str, bool]] = {
    "neuron": ("neuron", True),
    "head": ("attention", True),
    "circuit": ("load", False),
    "vector": ("vector", True),
    "edit": ("inspect", True),
    "round": ("recruits", True),
    "adapter": ("adapter load", False),
    "preset": ("preset list", True),
    "means": ("means show", True),
    "lens": ("lens show", True),
    "command file": ("run", False),
    "setting": ("set", False),
}


def opening(of: StandsFor) -> OpeningLine | None:
    """The line for what a row stands for; None if nothing shows it."""
    if of.kind == "line":
        return OpeningLine(of.name, False)
    if of.kind == "neuron" and of.name.endswith("/*"):
        return OpeningLine(call_line("neurons", of.name), True)
    if of.kind not in _VERBS:
        return None
    verb, at_once = _VERBS[of.kind]
    return OpeningLine(call_line(verb, of.name), at_once)
