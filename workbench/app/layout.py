"""The layout of a screen of a given size: regions of panes and lines, and the frame between them; pure functions.

On a screen of at least `GRID` cells, all panes stand side by side. On a smaller screen, or when a pane is zoomed, one
pane stands under a line of tabs. What has no room is left out, the command line last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from textual.geometry import Region

#: The smallest screen with all panes side by side.
GRID = (100, 30)
PROMPT = "wb> "
TRANSCRIPT, NEURONS, COMPARE, CHANCES, LAYERS, JOBS, STATE = range(1, 8)
#: The number of the command line among the panes.
LINE = 0
#: The key after ctrl+o for each pane.
LETTERS = {TRANSCRIPT: "t", NEURONS: "n", COMPARE: "c", CHANCES: "x", LAYERS: "l", JOBS: "j", STATE: "s", LINE: "w"}
#: The pane for each letter and number.
PLACES = {letter: place for place, letter in LETTERS.items()} | {str(place): place for place in LETTERS if place}

#: The least height of a small screen for each of these lines.
_STATUS, _TABS, _JOBS, _KEYS = 6, 8, 12, 16
#: The heading before the jobs line, on a screen of at least `_WITH_HEADING` cells.
JOBS_HEADING = " 6 Jobs "
_WITH_HEADING = 50


@dataclass(frozen=True)
class PaneColumn:
    """Panes stacked between two vertical lines; `rules` are the rows of the horizontal lines around them."""

    left: int
    right: int
    panes: tuple[int, ...]
    rules: tuple[int, ...]

    def regions(self) -> Iterator[tuple[int, Region]]:
        width = self.right - self.left - 1
        for pane, top, bottom in zip(self.panes, self.rules, self.rules[1:], strict=False):
            yield pane, Region(self.left + 1, top + 1, width, bottom - top - 1)


@dataclass(frozen=True)
class ScreenPlan:
    """The layout of a screen. `columns` is empty if one pane stands under tabs; a line without room is None."""

    line: Region
    message: Region | None = None
    status: Region | None = None
    tabs: Region | None = None
    keys: Region | None = None
    panes: dict[int, Region] = field(default_factory=dict)
    columns: tuple[PaneColumn, ...] = ()
    jobs_heading: bool = False

    def rule(self, row: int) -> str | None:
        """The frame in a row of the screen; None if the row has none."""
        if not self.columns or not self.columns[0].rules[0] <= row <= self.columns[0].rules[-1]:
            return None
        top, bottom = self.columns[0].rules[0], self.columns[0].rules[-1]
        drawn = ""
        before = False
        for column in self.columns:
            here = row in column.rules
            drawn += _JOINTS[row > top, row < bottom, before, here]
            drawn += ("─" if here else " ") * (column.right - column.left - 1)
            before = here
        return drawn + _JOINTS[row > top, row < bottom, before, False]


#: The characters where lines of the frame meet, by whether there is a line above, below, left, right.
_JOINTS = {
    (False, True, False, True): "┌",
    (False, True, True, True): "┬",
    (False, True, True, False): "┐",
    (True, True, False, True): "├",
    (True, True, True, True): "┼",
    (True, True, True, False): "┤",
    (True, True, False, False): "│",
    (True, False, False, True): "└",
    (True, False, True, True): "┴",
    (True, False, True, False): "┘",
}


def planned(width: int, height: int, alone: int | None, message_rows: int = 0) -> ScreenPlan:
    """The layout for a screen.

    Args:
        width, height: the screen's size in cells.
        alone: the pane to show alone, zoomed or on a small screen; None for all panes if they fit.
        message_rows: rows that the message under the command line needs.
    """
    if width < 1 or height < 1:
        return ScreenPlan(line=Region(0, 0, 0, 0))
    roomy = width >= GRID[0] and height >= GRID[1]
    if roomy and alone is None:
        return _grid(width, height, message_rows)
    return _single(width, height, alone or TRANSCRIPT, message_rows)


def _grid(width: int, height: int, message_rows: int) -> ScreenPlan:
    message_rows = max(message_rows, 1)
    keys, message = height - 1, height - 1 - message_rows
    line, jobs = message - 1, message - 2
    columns = _columns(width, 1, jobs - 1)
    panes = dict(pair for column in columns for pair in column.regions())
    heading = len(JOBS_HEADING)
    return ScreenPlan(
        line=_line(line, width),
        message=Region(0, message, width, message_rows),
        status=Region(0, 0, width, 1),
        keys=Region(0, keys, width, 1),
        panes=panes | {JOBS: Region(heading, jobs, width - heading, 1)},
        columns=columns,
        jobs_heading=True,
    )


def _columns(width: int, top: int, bottom: int) -> tuple[PaneColumn, ...]:
    """The three columns with all panes but the jobs; a wider screen gives its room to the middle and the left."""
    state = min(max(width * 18 // 100, 20), 32)
    left = min(max((width - state) * 42 // 100, 32), 80)
    middle = width - 1 - state
    chances = min(max((bottom - top) * 36 // 100, 8), 14)
    rows = bottom - top
    layers = min(max(rows * 32 // 100, 7), 16)
    compare = max(rows * 28 // 100, 6)
    return (
        PaneColumn(0, left, (TRANSCRIPT, CHANCES), (top, bottom - chances, bottom)),
        PaneColumn(left, middle, (NEURONS, COMPARE, LAYERS), (top, bottom - layers - compare, bottom - layers, bottom)),
        PaneColumn(middle, width - 1, (STATE,), (top, bottom)),
    )


def _single(width: int, height: int, pane: int, message_rows: int) -> ScreenPlan:
    jobs_line = height >= _JOBS and pane != JOBS
    top, bottom = 0, height
    status = tabs = keys = message = jobs = None
    if height >= _STATUS:
        status, top = Region(0, top, width, 1), top + 1
    if height >= _TABS:
        tabs, top = Region(0, top, width, 1), top + 1
    if height >= _KEYS:
        bottom -= 1
        keys = Region(0, bottom, width, 1)
    message_rows = min(max(message_rows, 1 if height >= _JOBS else 0), max(bottom - 1 - top, 0))
    if message_rows:
        bottom -= message_rows
        message = Region(0, bottom, width, message_rows)
    bottom -= 1
    line = _line(bottom, width)
    heading = len(JOBS_HEADING) if width >= _WITH_HEADING else 0
    if jobs_line and bottom - top > 1:
        bottom -= 1
        jobs = Region(heading, bottom, width - heading, 1)
    panes = {pane: Region(0, top, width, bottom - top)} if bottom > top else {}
    if jobs is not None:
        panes[JOBS] = jobs
    return ScreenPlan(line, message, status, tabs, keys, panes, jobs_heading=jobs is not None and heading > 0)


def _line(row: int, width: int) -> Region:
    """The command line after its prompt; on a very narrow screen without the prompt."""
    indent = len(PROMPT) if width > 2 * len(PROMPT) else 0
    return Region(indent, row, width - indent, 1)
