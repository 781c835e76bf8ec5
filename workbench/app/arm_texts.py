"""Texts under different interventions, side by side or one below the other, while they stream and when complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from sessions.views.blocks import Texts
from workbench.app.differing import Leaving, Span, differing, enclosed
from workbench.app.scroll_pane import Paragraph
from workbench.app.wrapping import Beside, Growing, row, strips, tail
from workbench.writing import facts, fitted, inline, plain

#: The least cells of each text side by side.
EACH = 25
_BETWEEN = 3
#: Cells before a text below its heading.
_INDENT = 2
_DIM = Style(dim=True)
#: Marks what differs; a pane replaces it by its theme's style when it draws.
CHANGED = Style(bold=True, underline=False)


def column_width(count: int, width: int) -> int:
    """Cells of each of several texts side by side; 0 if there is no room for that."""
    each = (width - _BETWEEN * (count - 1)) // count if count > 1 else 0
    return each if each >= EACH else 0


def compared(block: Texts) -> list[ComparedText]:
    """The texts, each with marks around what differs from the first; in the first, what differs from the second."""
    texts = [plain(arm.text) for arm in block.arms]
    spans: list[list[Span]] = []
    for text in texts[1:]:
        left, right = differing(texts[0], text)
        spans = [*(spans or [left]), right]
    return [
        ComparedText(arm.facts[0] if arm.facts else "", text, [*map(inline, arm.facts)], enclosed(text, parts, CHANGED))
        for arm, text, parts in zip(block.arms, texts, spans or [[] for _ in texts], strict=True)
    ]


class StreamingTexts(Paragraph):
    """Several texts while they grow: side by side where there is room, else the last lines of each."""

    def __init__(self) -> None:
        self.arms: list[ComparedText] = []
        self.rows = 1  # of the pane
        self._leaving = Leaving()

    def grow(self, texts: Mapping[str, str]) -> None:
        """Take the texts so far, by name."""
        known = {arm.name: arm for arm in self.arms}
        self.arms = [known.get(name) or ComparedText(name) for name in texts]
        for arm, marked in zip(self.arms, self._leaving.marked(dict(texts)).values(), strict=True):
            arm.text, arm.marked = texts[arm.name], marked

    def stamp(self) -> object:
        return self.rows, tuple(len(arm.marked) for arm in self.arms)

    def drawn(self, width: int) -> Sequence[Strip]:
        if column_width(len(self.arms), width):
            return TextColumns(self.arms).drawn(width)
        return Tails(self.arms, max(self.rows // max(len(self.arms), 1), 1)).drawn(width)


class ComparedText(Paragraph):
    """A text under its heading. `marked` is what is shown of a streaming text."""

    def __init__(
        self, name: str, text: str | None = None, heading: Sequence[str] = (), shown: Text | None = None
    ) -> None:
        self.name, self.whole = name, text is not None
        self.text = self.marked = text or ""
        self._heading = heading or [inline(name)]
        self._shown = shown
        self._growing: tuple[int, Growing] | None = None

    def stamp(self) -> object:
        return len(self.marked)

    def drawn(self, width: int) -> Sequence[Strip]:
        return [*strips(self.heading(width - 2), width), *self.body(width, _INDENT)]

    def heading(self, width: int) -> Text:
        """The text's name and facts about it."""
        heading = facts(self._heading, width)
        heading.stylize("dim")
        heading.stylize("bold not dim", 0, len(self._heading[0]))
        return heading

    def body(self, width: int, indent: int = 0) -> Sequence[Strip]:
        """The lines of the text."""
        if self.whole:
            text = self._shown if self._shown is not None else Text(self.text)
            return strips(text if text.plain else Text("(empty)", style="dim"), width, indent)
        if self._growing is None or self._growing[0] != width:
            self._growing = width, Growing(width, indent)
        return self._growing[1].show(self.marked)


class TextColumns(Paragraph):
    """Texts side by side, each under its heading; where there is no room, one below the other."""

    def __init__(self, arms: Sequence[ComparedText]) -> None:
        self._arms = arms

    def stamp(self) -> object:
        return tuple(len(arm.marked) for arm in self._arms)

    def drawn(self, width: int) -> Sequence[Strip]:
        each = column_width(len(self._arms), width)
        if not each:
            return [line for arm in self._arms for line in arm.lines(width)]
        headings = [strips(arm.heading(each - 2), each) for arm in self._arms]
        tallest = max(map(len, headings))
        blank = row("")
        columns = [
            [*heading, *[blank] * (tallest - len(heading)), *arm.body(each)]
            for heading, arm in zip(headings, self._arms, strict=True)
        ]
        return Beside(columns, each)


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
