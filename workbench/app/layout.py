"""The layout of a screen of a given size: regions of panes and lines, and the frame between them; pure functions.

On a screen of at least `GRID` cells, all panes stand side by side. On a smaller screen, or when a pane is zoomed, one
pane stands under a line of tabs. What has no room is left out, the command line last.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from textual.geometry import Region

#: The smallest screen with all panes side by side.
GRID = (100, 30)
PROMPT = "wb> "
HISTORY, RESULT, NEURONS, CHANCES, LAYERS, JOBS, SHELF = range(1, 8)
#: The number of the command line among the panes.
LINE = 0
#: The key after ctrl+o for each pane.
LETTERS = {HISTORY: "h", RESULT: "r", NEURONS: "n", CHANCES: "x", LAYERS: "l", JOBS: "j", SHELF: "s", LINE: "w"}
#: The pane for each letter and number.
PLACES = {letter: place for place, letter in LETTERS.items()} | {str(place): place for place in LETTERS if place}

#: The least height of a small screen for each of these lines.
_STATUS, _TABS, _JOBS, _KEYS = 6, 8, 12, 16
#: The heading before the jobs line, on a screen of at least `_WITH_HEADING` cells.
JOBS_HEADING = " 6 Jobs "
_WITH_HEADING = 50


@dataclass(frozen=True)
class FramedPane:
    """A pane within lines: the first and last columns and rows are lines, which neighbours share."""

    pane: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def region(self) -> Region:
        """What is inside the lines."""
        return Region(self.left + 1, self.top + 1, self.right - self.left - 1, self.bottom - self.top - 1)


@dataclass(frozen=True)
class ScreenPlan:
    """The layout of a screen. `frames` is empty if one pane stands under tabs; a line without room is None."""

    line: Region
    message: Region | None = None
    status: Region | None = None
    tabs: Region | None = None
    keys: Region | None = None
    panes: dict[int, Region] = field(default_factory=dict)
    frames: tuple[FramedPane, ...] = ()
    jobs_heading: bool = False

    def rule(self, row: int) -> str | None:
        """The lines in a row of the screen; None if the row has none."""
        here = [frame for frame in self.frames if frame.top <= row <= frame.bottom]
        if not here:
            return None
        up, down, left, right = (set[int]() for _ in range(4))
        for frame in here:
            if row > frame.top:
                up |= {frame.left, frame.right}
            if row < frame.bottom:
                down |= {frame.left, frame.right}
            if row in (frame.top, frame.bottom):
                right.update(range(frame.left, frame.right))
                left.update(range(frame.left + 1, frame.right + 1))
        width = max(frame.right for frame in here) + 1
        return "".join(_JOINTS[x in up, x in down, x in left, x in right] for x in range(width))


#: The characters where lines of the frame meet, by whether there is a line above, below, left, right.
_JOINTS = {
    (False, False, False, False): " ",
    (True, True, False, False): "│",
    (False, False, True, True): "─",
    (False, True, False, True): "┌",
    (False, True, True, True): "┬",
    (False, True, True, False): "┐",
    (True, True, False, True): "├",
    (True, True, True, True): "┼",
    (True, True, True, False): "┤",
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
    return _single(width, height, alone or RESULT, message_rows)


def _grid(width: int, height: int, message_rows: int) -> ScreenPlan:
    message_rows = max(message_rows, 1)
    keys, message = height - 1, height - 1 - message_rows
    line, jobs = message - 1, message - 2
    frames = _frames(width, 1, jobs - 1)
    panes = {frame.pane: frame.region for frame in frames}
    heading = len(JOBS_HEADING)
    return ScreenPlan(
        line=_line(line, width),
        message=Region(0, message, width, message_rows),
        status=Region(0, 0, width, 1),
        keys=Region(0, keys, width, 1),
        panes=panes | {JOBS: Region(heading, jobs, width - heading, 1)},
        frames=frames,
        jobs_heading=True,
    )


#: The least width of the middle column in which neurons and layer map stand side by side.
_SIDE_BY_SIDE = 80


def _frames(width: int, top: int, bottom: int) -> tuple[FramedPane, ...]:
    """All panes but the jobs: history and next token at the left, the shelf at the right, the others between.

    The result has the largest place. A wider screen gives its room to the middle, then to the left.
    """
    rows = bottom - top
    shelf = min(max(width * 17 // 100, 20), 30)
    left = min(max((width - shelf) * 34 // 100, 30), 56)
    right = width - 1 - shelf
    chances = bottom - min(max(rows * 36 // 100, 8), 14)
    if right - left >= _SIDE_BY_SIDE:
        lower = bottom - max(rows * 38 // 100, 9)
        beside = left + (right - left) * 58 // 100
        neurons = FramedPane(NEURONS, left, lower, beside, bottom)
        layers = FramedPane(LAYERS, beside, lower, right, bottom)
    else:
        layers = FramedPane(LAYERS, left, bottom - min(max(rows * 26 // 100, 7), 12), right, bottom)
        lower = layers.top - max(rows * 28 // 100, 7)
        neurons = FramedPane(NEURONS, left, lower, right, layers.top)
    return (
        FramedPane(HISTORY, 0, top, left, chances),
        FramedPane(RESULT, left, top, right, lower),
        neurons,
        FramedPane(CHANCES, 0, chances, left, bottom),
        layers,
        FramedPane(SHELF, right, top, width - 1, bottom),
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
