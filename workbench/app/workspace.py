"""`Workspace`: the whole screen. It places panes and lines by the plan of `layout`, and draws the frame.

Brackets around its heading mark the current pane, in the frame and in the line of tabs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from workbench.app.bars import Keys, MessageLine, Remark, StatusLine
from workbench.app.choices import Choice, Choices
from workbench.app.command_line import CommandLine
from workbench.app.layout import GRID, HISTORY, JOBS, JOBS_HEADING, LETTERS, LINE, PROMPT, RESULT, ScreenPlan, planned
from workbench.app.pane import Pane
from workbench.app.panes.history import HistoryPane
from workbench.writing import fitted, inline

#: The most completions visible at once.
_CHOICES = 10
#: Behind the name of a pane whose content changed while it was out of sight.
_NEWS = "•"


class _Tiling(Layout):
    """Places children where the workspace's plan puts them."""

    name = "tiling"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        assert isinstance(parent, Workspace)
        placed = [(child, parent.region_for(child)) for child in children]
        return [
            WidgetPlacement(region, NULL_OFFSET, NULL_SPACING, child) for child, region in placed if region is not None
        ]


@dataclass(frozen=True)
class _Heading:
    """A heading: its pane (0 is the command line), its first cell and its width."""

    pane: int
    left: int
    width: int


class Workspace(Widget):
    """The widget with everything on the screen.

    Args:
        panes: the panes by number.
        line: the command line.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "workspace--frame",
        "workspace--heading",
        "workspace--current",
        "workspace--facts",
    }
    DEFAULT_CSS = """
    Workspace { width: 100%; height: 100%; overflow: hidden; layers: below above; background: $background; }
    Workspace Choices { layer: above; display: none; }
    Workspace Pane { border: none; padding: 0; margin: 0; }
    Workspace > .workspace--frame { color: $border-blurred; }
    Workspace > .workspace--heading { color: $text; }
    Workspace > .workspace--current { color: $text-accent; text-style: bold; }
    Workspace > .workspace--facts { color: $text-muted; }
    """

    @dataclass
    class Pointed(Message):
        """A heading was clicked."""

        pane: int

    def __init__(self, panes: Mapping[int, Pane], line: CommandLine) -> None:
        super().__init__()
        self.panes, self.line = panes, line
        self.status, self.message_line, self.keys, self.choices = StatusLine(), MessageLine(), Keys(), Choices()
        self.current = RESULT
        self.zoomed = False
        self.lettered = False
        self.unseen: set[int] = set()
        self.focused = LINE
        self.plan = ScreenPlan(Region(0, 0, 0, 0))
        self._screen = Size(0, 0)
        self._column = 0

    @property
    def layout(self) -> Layout:
        return _TILING

    def compose(self) -> ComposeResult:
        yield self.status
        yield from self.panes.values()
        yield self.line
        yield self.message_line
        yield self.keys
        yield self.choices

    def on_mount(self) -> None:
        for number, pane in self.panes.items():
            self.watch(pane, "facts", partial(self._paint_headings, [number]), init=False)

    # Layout

    def fit(self, size: Size | None = None) -> None:
        """Lay everything out again, for a new size of the screen or the same one."""
        self._screen = size or self._screen
        width, height = self._screen
        alone = self.current if self.zoomed or width < GRID[0] or height < GRID[1] else None
        plan = planned(width, height, alone, self.message_line.rows(width))
        if plan == self.plan:
            return
        self.plan = plan
        self.unseen -= set(plan.panes)
        for number, pane in self.panes.items():
            pane.display = number in plan.panes
        self.status.display = plan.status is not None
        self.message_line.display = plan.message is not None
        self.keys.display = plan.keys is not None
        self.line.refresh(layout=True)
        self.refresh(layout=True)

    def region_for(self, child: Widget) -> Region | None:
        """The region of a child; None if there is no room for it."""
        if isinstance(child, Pane):
            return next((self.plan.panes.get(number) for number, pane in self.panes.items() if pane is child), None)
        if child is self.choices:
            return self._region_of_choices()
        places: dict[Widget, Region | None] = {
            self.status: self.plan.status,
            self.line: self.plan.line,
            self.message_line: self.plan.message,
            self.keys: self.plan.keys,
        }
        return places.get(child)

    def _region_of_choices(self) -> Region | None:
        line = self.plan.line
        rows = min(len(self.choices.choices), _CHOICES, line.y)
        width = min(self.choices.wanted_width(), self._screen.width)
        left = min(max(line.x + self.line.cell(self._column) - 2, 0), self._screen.width - width)
        return Region(left, line.y - rows, width, rows) if rows > 0 and width > 0 else None

    def shows(self, number: int) -> bool:
        """Whether a pane is on the screen."""
        return number in self.plan.panes

    def news(self, number: int) -> None:
        """Mark a pane that is out of sight: its content changed."""
        if not self.shows(number) and number not in self.unseen:
            self.unseen.add(number)
            self._paint_headings()

    def zoom(self) -> None:
        """Give the whole screen to the current pane, or show all panes again."""
        self.zoomed = not self.zoomed
        self.fit()
        self._paint_headings()

    def bring(self, number: int) -> None:
        """Make a pane current and visible."""
        before, self.current = self.current, number
        self.fit()
        self._paint_headings([before, number])

    # Messages and completions

    def own(self, author: str) -> None:
        """Set this client's author, whose lines show no author."""
        history = self.panes[HISTORY]
        assert isinstance(history, HistoryPane)
        history.own = author

    def say(self, remark: Remark) -> None:
        """Show a remark under the command line."""
        pointer = None if remark.column is None else max(self.plan.line.x + self.line.cell(remark.column), 0)
        self.message_line.say(remark, pointer)
        self.fit()

    def offer(self, choices: Sequence[Choice], column: int, at: int) -> None:
        """Show completions above the command line; an empty list closes it."""
        if choices == self.choices.choices:
            self.choices.go(at)
            return
        self._column = column
        self.choices.display = bool(choices)
        self.choices.offer(choices, at)
        self.choices.refresh(layout=True)

    # Headings

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._focus_moved()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        self._focus_moved()

    def _focus_moved(self) -> None:
        at = self.screen.focused
        inside = set(at.ancestors_with_self) if at is not None else set()
        before = {self.focused, self.current}
        self.focused = next((number for number, pane in self.panes.items() if pane in inside), LINE)
        if self.focused != LINE:
            self.current = self.focused
        if self.lettered:
            self.letter(False)
        elif before != {self.focused, self.current}:
            self._paint_headings(before | {self.focused, self.current})

    def letter(self, shown: bool) -> None:
        """Show or hide the letters for jumping."""
        self.lettered = shown
        self._paint_headings()

    def _paint_headings(self, of: Collection[int] = tuple(LETTERS)) -> None:
        """Paint the headings of these panes again; the line of tabs as a whole, because tabs move."""
        regions = [Region(one.left, row, one.width, 1) for row, one in self._headings() if one.pane in of]
        tabs = self.plan.tabs
        self.refresh(*(region if tabs is None or region.y != tabs.y else tabs for region in regions))

    def _headings(self) -> Iterator[tuple[int, _Heading]]:
        """All headings with their rows."""
        plan = self.plan
        for frame in plan.frames:
            yield frame.top, _Heading(frame.pane, frame.left + 1, frame.right - frame.left - 1)
        if plan.tabs is not None:
            for heading in self._tabs(plan.tabs.width):
                yield plan.tabs.y, heading
        if plan.jobs_heading:
            yield plan.panes[JOBS].y, _Heading(JOBS, 0, len(JOBS_HEADING))
        if plan.line.x:
            yield plan.line.y, _Heading(LINE, 0, plan.line.x)

    def _tabs(self, width: int) -> Iterator[_Heading]:
        """The tabs, with names if there is room; else only the current one is named."""
        short = sum(cell_len(self._title(number, True)) for number in self.panes) > width
        left = 0
        for number in self.panes:
            cells = cell_len(self._title(number, not short or number == self.current))
            if left + cells > width:
                return
            yield _Heading(number, left, cells)
            left += cells

    def _title(self, number: int, named: bool = True) -> str:
        name = f"{number} {self.panes[number].heading}" if named else str(number)
        if self.lettered:
            return f"({LETTERS[number]}){name[1:]}" if named else f"({LETTERS[number]})"
        bracketed = number == (self.focused if self.plan.frames or number == JOBS else self.current)
        return f"[{name}]" if bracketed else f" {name}{_NEWS if number in self.unseen else ' '}"

    def on_click(self, event: events.Click) -> None:
        for row, heading in self._headings():
            if row == event.y and heading.left <= event.x < heading.left + heading.width:
                self.post_message(self.Pointed(heading.pane))

    # Drawing

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        headings = [heading for row, heading in self._headings() if row == y]
        rule = self.plan.rule(y)
        if self.plan.tabs is not None and y == self.plan.tabs.y:
            segments = self._tab_line(headings, width)
        elif rule is not None:
            segments = self._frame(rule, sorted(headings, key=lambda heading: heading.left))
        elif headings and headings[0].pane == LINE:
            segments = [Segment(f"({LETTERS[LINE]}) " if self.lettered else PROMPT, self._style(self.focused == LINE))]
        elif headings:
            segments = [Segment(self._title(JOBS), self._style(self.focused == JOBS))]
        else:
            segments = []
        return Strip(segments).adjust_cell_length(width).apply_style(self.rich_style)

    def _frame(self, rule: str, headings: Sequence[_Heading]) -> list[Segment]:
        style = self.get_component_rich_style("workspace--frame", partial=True)
        segments: list[Segment] = []
        at = 0
        for heading in headings:
            title = fitted(self._title(heading.pane), heading.width)
            room = heading.width - cell_len(title)
            facts = self._facts(heading.pane, room - 2)
            end = heading.left + heading.width
            segments += [
                Segment(rule[at : heading.left], style),
                Segment(title, self._style(heading.pane == self.focused)),
                Segment(rule[heading.left + cell_len(title) : end - cell_len(facts)], style),
                Segment(facts, self.get_component_rich_style("workspace--facts", partial=True)),
            ]
            at = end
        return [*segments, Segment(rule[at:], style)]

    def _tab_line(self, headings: Sequence[_Heading], width: int) -> list[Segment]:
        segments = []
        used = 0
        for heading in headings:
            title = self._title(heading.pane)
            if cell_len(title) != heading.width:
                title = self._title(heading.pane, named=False)
            segments.append(Segment(title, self._style(heading.pane == self.current)))
            used += heading.width
        facts = self._facts(self.current, width - used - 1)
        gap = " " * max(width - used - cell_len(facts), 0)
        return [
            *segments,
            Segment(gap),
            Segment(facts, self.get_component_rich_style("workspace--facts", partial=True)),
        ]

    def _facts(self, number: int, room: int) -> str:
        facts = inline(self.panes[number].facts)
        return f" {fitted(facts, room - 2)} " if facts and room > 5 else ""

    def _style(self, current: bool) -> Style:
        return self.get_component_rich_style("workspace--current" if current else "workspace--heading", partial=True)


_TILING = _Tiling()
