"""The command files that come with the workbench, found by name: `run meow`, and all of them: `run --list`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from sessions.errors import UsageError
from sessions.results import CommandFile

FOLDER = Path(__file__).parent / "examples"
ENDING = ".wb"


def path_of(given: Path) -> Path:
    """The file that is meant: the one at the path or, where none is there and it is a bare name, the workbench's own.

    Raises:
        UsageError: it is a bare name, and there is neither.
    """
    if os.path.lexists(given) or given.name != str(given) or given.suffix not in ("", ENDING):
        return given
    own = {path.stem: path for path in FOLDER.glob(f"*{ENDING}")}
    if given.stem in own:
        return own[given.stem]
    near = get_close_matches(given.stem, own, 1)
    hint = f"did you mean {near[0]}?" if near else f"those of the workbench: {', '.join(sorted(own))}"
    raise UsageError(f"there is no command file '{given}'", hint)


def files() -> Iterator[CommandFile]:
    """All of them, by name."""
    from sessions.texts.placeholders import values_in

    for path in sorted(FOLDER.glob(f"*{ENDING}")):
        text = path.read_text(encoding="utf-8")
        yield CommandFile(name=path.stem, heading=_heading(text), path=str(path), values=values_in(text))


def _heading(text: str) -> str:
    """The first paragraph of comments, which says what the file shows."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#") or not line.strip("# "):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)
