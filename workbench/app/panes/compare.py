"""The pane of texts under different interventions, side by side or stacked, while they stream and when complete."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.strip import Strip

from sessions.events import Failed
from sessions.interventions.arms import Arm
from sessions.results import Compared, Injected, Intervened, Swept
from sessions.views.interventions import arm_facts
from workbench.app.chart import CurveChart
from workbench.app.differing import Leaving, Span, differing, enclosed
from workbench.app.layout import GRID
from workbench.app.scroll_pane import Paragraph, RichParagraph, ScrollPane
from workbench.app.session_view import Facet, HistoryEntry, SessionView
from workbench.app.wrapping import Beside, Growing, row, strips, tail
from workbench.rendering.outcomes import failure
from workbench.writing import facts, fitted, inline, plain, quoted

#: The width of the pane from which texts stand side by side, and the least cells of each; never on a small screen.
WIDE, EACH = 60, 25
_BETWEEN = 3
#: Cells before a text below its heading.
_INDENT = 2
_BOLD, _DIM = Style(bold=True), Style(dim=True)
#: Replaced by the theme's style for differences when drawn.
_CHANGED = Style(bold=True, underline=False)
_FIRST = (
    "No texts to compare yet. Try:",
    "  ablate top10",
    "  sweep top10 0 0.5 1 1.5 2",
)


class ComparePane(ScrollPane):
    """The texts of the last comparison or sweep. Left and right choose a text."""

    heading: ClassVar[str] = "Compare"
    facets: ClassVar[Facet] = Facet.ARMS
    follows: ClassVar[bool] = True
    COMPONENT_CLASSES: ClassVar[set[str]] = {"compare--changed"}
    DEFAULT_CSS = """
    ComparePane > .compare--changed { text-style: bold; color: $text-warning; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "choose(-1)", "text", id="compare.left", show=False),
        Binding("right,l", "choose(1)", "text", id="compare.right", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entry: HistoryEntry | None = None
        self._whole: Intervened | Injected | None = None
        self._arms: list[ComparedText] = []
        self._leaving = Leaving()
        self._number = 0

    def show(self, view: SessionView, changed: Facet) -> None:
        entry = view.arms
        if entry is not self._entry:
            self._entry, self._whole, self._arms, self._leaving = entry, None, [], Leaving()
            self._number = 0
            self.begin()
        if entry is not None and isinstance(entry.value, Intervened | Injected):
            if entry.value is not self._whole:
                self._complete(entry.value)
        elif entry is not None:
            self._grow(entry)
        self.shaped()
        self.settle()

    def chosen(self) -> str:
        return self._arms[self._number].text if self._arms else ""

    def text(self) -> str:
        parts = [f"{arm.heading(WIDE).plain}\n{arm.text}" for arm in self._arms]
        return "\n\n".join([inline(self._entry.line.strip()), *parts]) if self._entry else ""

    def remarks(self) -> str:
        if self._whole is None:
            return fitted(inline(self._entry.line.strip()), 40) if self._entry else ""
        if isinstance(self._whole, Swept):
            return fitted(f"sweep {inline(self._whole.selection)}, {_measured(self._whole)}", 40)
        if isinstance(self._whole, Injected):
            return fitted(f"inject {inline(', '.join(place.name for place in self._whole.placed))}", 40)
        verb = self._whole.verb if isinstance(self._whole, Compared) else ""
        return fitted(inline(f"{verb} {self._whole.selection}"), 40)

    def shaped(self) -> None:
        width, height = self.size
        growing = self._whole is None
        if not self._arms:
            self.blocks = [RichParagraph(*(Text(line, style="dim") for line in _FIRST))]
        elif self._column(width):
            self.blocks = [TextColumns(self._arms)]
        elif growing:
            self.blocks = [Tails(self._arms, max(height // len(self._arms), 1))]
        else:
            self.blocks = self._arms
        failed = self._entry.outcome if self._entry and isinstance(self._entry.outcome, Failed) else None
        if failed:
            self.blocks = [*self.blocks, RichParagraph(*failure(failed.message, failed.hint))]

    def head(self, width: int) -> Sequence[Strip]:
        column, curve = self._column(width), self._curve()
        if curve is not None:
            height = self.size.height
            return curve.drawn(width, 1 if height < 9 else min(height // 2 - 1, 14))
        if not column:
            return ()
        headings = [
            strips(arm.heading(column - 2, self.has_focus and number == self._number), column)
            for number, arm in enumerate(self._arms)
        ]
        return list(Beside(headings, column))

    def dressed(self, block: Paragraph, number: int, line: Strip) -> Strip:
        if number == 0 and block is self._at_cursor() and (self.has_focus or self._curve()):
            cursor = self.get_component_rich_style("scroll--cursor", partial=True) if self.has_focus else _BOLD
            return row("▸ ", *((text, style + cursor if style and style.bold else style) for text, style, _ in line))
        if all(style != _CHANGED for _, style, _ in line):
            return line
        changed = self.get_component_rich_style("compare--changed", partial=True)
        return row(*((text, changed if style == _CHANGED else style) for text, style, _ in line))

    def action_choose(self, steps: int) -> None:
        """Move the choice by some texts to the right."""
        if self._arms:
            self._number = min(max(self._number + steps, 0), len(self._arms) - 1)
            block = self._at_cursor()
            if block in self.blocks:
                self.jump(block)
            self.settle()

    def _at_cursor(self) -> Paragraph:
        return self._arms[self._number] if self._arms else Paragraph()

    def _column(self, width: int) -> int:
        """Cells of each text side by side; 0 if they are stacked."""
        count = len(self._arms)
        if count < 2 or width < WIDE or self.app.size.width < GRID[0] or isinstance(self._whole, Swept):
            return 0
        each = (width - _BETWEEN * (count - 1)) // count
        return each if each >= EACH else 0

    def _curve(self) -> CurveChart | None:
        if not isinstance(self._whole, Swept):
            return None
        points = [(arm.arm.multiplier, _height(arm.arm, self._whole)) for arm in self._arms if arm.arm]
        return CurveChart(points, self._number)

    def _grow(self, entry: HistoryEntry) -> None:
        """Take the streamed texts so far."""
        known = {arm.name: arm for arm in self._arms}
        self._arms = [known.get(name) or ComparedText(name) for name in entry.texts]
        for arm, marked in zip(self._arms, self._leaving.marked(entry.texts).values(), strict=True):
            arm.text, arm.marked = entry.texts[arm.name], marked

    def _complete(self, value: Intervened | Injected) -> None:
        """Take the complete texts of a result."""
        self._whole = value
        self.begin()
        self.at_end = False
        if isinstance(value, Compared | Injected):
            self._number = len(value.arms) - 1 if isinstance(value, Compared) else 1
            self._arms = _compared(value)
        else:
            arms = sorted(value.arms, key=lambda arm: arm.multiplier)
            self._number = 0
            self._arms = [
                ComparedText(arm.name, arm, [*map(inline, arm_facts(arm, arms[0])), *_next(arm)]) for arm in arms
            ]


class ComparedText(Paragraph):
    """A text under its heading. `marked` is what is shown of a streaming text."""

    def __init__(
        self, name: str, arm: Arm | None = None, heading: Sequence[str] = (), shown: Text | None = None
    ) -> None:
        self.name, self.arm = name, arm
        self.text = self.marked = plain(arm.text) if arm else ""
        self._heading = heading or [inline(name)]
        self._shown = shown
        self._growing: tuple[int, Growing] | None = None

    def stamp(self) -> object:
        return len(self.marked)

    def drawn(self, width: int) -> Sequence[Strip]:
        return [*strips(self.heading(width - 2), width), *self.body(width, _INDENT)]

    def heading(self, width: int, chosen: bool = False) -> Text:
        """The text's name and facts about it."""
        heading = facts(self._heading, width)
        heading.stylize("dim")
        heading.stylize("bold not dim", 0, len(self._heading[0]))
        if chosen:
            heading = Text.assemble(("▸ ", "bold"), heading)
            heading.stylize("reverse", 2, 2 + len(self._heading[0]))
        return heading

    def body(self, width: int, indent: int = 0) -> Sequence[Strip]:
        """The lines of the text."""
        if self.arm is not None:
            text = self._shown if self._shown is not None else Text(self.text)
            return strips(text if text.plain else Text("(empty)", style="dim"), width, indent)
        if self._growing is None or self._growing[0] != width:
            self._growing = width, Growing(width, indent)
        return self._growing[1].show(self.marked)


class TextColumns(Paragraph):
    """Texts side by side."""

    def __init__(self, arms: Sequence[ComparedText]) -> None:
        self._arms = arms

    def drawn(self, width: int) -> Sequence[Strip]:
        each = (width - _BETWEEN * (len(self._arms) - 1)) // len(self._arms)
        return Beside([arm.body(each) for arm in self._arms], each)


class Tails(Paragraph):
    """The last lines of streaming texts, each under its name."""

    def __init__(self, arms: Sequence[ComparedText], rows: int) -> None:
        self._arms, self._rows = arms, rows

    def drawn(self, width: int) -> list[Strip]:
        return [line for arm in self._arms for line in self._tail(arm, width)]

    def _tail(self, arm: ComparedText, width: int) -> Iterator[Strip]:
        name = fitted(inline(arm.name), 16)
        if self._rows > 1:
            yield row((f"{name} ▏", _DIM))
            yield from arm.body(width, _INDENT)[-(self._rows - 1) :]
        else:
            yield row((f"{name} ▏ ", _DIM), tail(arm.text, width - cell_len(name) - 3))


def _compared(value: Compared | Injected) -> list[ComparedText]:
    """The texts, each with marks around what differs from the first; in the first, what differs from the second."""
    texts = [plain(arm.text) for arm in value.arms]
    spans: list[list[Span]] = []
    for text in texts[1:]:
        left, right = differing(texts[0], text)
        spans = [*(spans or [left]), right]
    return [
        ComparedText(arm.name, arm, list(map(inline, arm_facts(arm, value.arms[0]))), enclosed(text, parts, _CHANGED))
        for arm, text, parts in zip(value.arms, texts, spans or [[] for _ in texts], strict=True)
    ]


def _next(arm: Arm) -> list[str]:
    likeliest = max(arm.next_tokens, key=lambda token: token.probability, default=None)
    return [] if likeliest is None else [f"next {quoted(likeliest.text)}"]


def _height(arm: Arm, value: Swept) -> float:
    """The value of an arm on the curve: the target's probability, else that of the likeliest token."""
    wanted = None if value.target is None else arm.target_probability
    p = max((token.probability for token in arm.next_tokens), default=0.0) if wanted is None else wanted
    return 0.0 if math.isnan(p) else p


def _measured(value: Intervened) -> str:
    return f"p({quoted(value.target.tokens[0].text)})" if value.target is not None else "p of the likeliest token"
