"""Lines of cells: Rich renderables as strips, and growing text that is wrapped without starting over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from io import StringIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from workbench.writing import inline, plain

#: The least width of a layout; a narrower pane cuts it at the edge.
NARROWEST = 8
_CONSOLE = Console(file=StringIO(), color_system="truecolor", markup=False, emoji=False, highlight=False)
_DIM = Style(dim=True)
_TAB = " " * 8


def strips(renderable: RenderableType, width: int, indent: int = 0) -> list[Strip]:
    """A Rich renderable as lines of `width` cells, indented by `indent` of them."""
    options = _CONSOLE.options.update(width=max(width - indent, NARROWEST))
    margin = [Segment(" " * indent)] if indent else []
    return [_simple([*margin, *line]) for line in _CONSOLE.render_lines(renderable, options, pad=False)]


def _simple(segments: Iterable[Segment]) -> Strip:
    """A line in as few segments as possible: drawing each one repeats its colours."""
    return Strip([Segment(text, style or None) for text, style, _ in segments if text]).simplify()


def row(*pieces: str | tuple[str, Style | None]) -> Strip:
    """One line made of pieces."""
    parts = [(piece, None) if isinstance(piece, str) else piece for piece in pieces]
    return Strip([Segment(text, style) for text, style in parts if text])


def written_out(renderables: Iterable[RenderableType], width: int = 99) -> str:
    """Rich renderables as text for another program: paragraphs unwrapped, tables in `width` cells."""
    parts: list[str] = []
    for renderable in renderables:
        if isinstance(renderable, Text):
            parts.append(renderable.plain)
        else:
            parts += [line.text.rstrip() for line in strips(renderable, width)]
    return "\n".join(parts)


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a plain text, as Rich wraps them.

    Characters whose width depends on their neighbours cannot be wrapped piece by piece. So a tab is eight blanks
    wherever it is, and joiners are left out (few terminals draw joined characters, and Rich miscounts some of them).
    """
    return [line.plain for line in Text(_alone(text)).wrap(_CONSOLE, max(width, 1), overflow="fold")] or [""]


def _alone(text: str) -> str:
    """The text without characters whose width depends on their neighbours."""
    return text.replace("\t", _TAB).replace("\u200d", "")


def tail(text: str, width: int) -> str:
    """The last words of a text that fit in a row."""
    if width < 2 or (len(text) <= width and cell_len(inline(text)) <= width):
        return inline(text) if width >= 2 else ""
    shown = inline(text[-width:])
    while cell_len(shown) >= width:
        shown = shown[1:]
    return "…" + shown


class Growing:
    """A growing text and its lines; all lines but the last are laid out once.

    Args:
        width: cells of a line, including the indentation.
        indent: blank cells before each line.
    """

    def __init__(self, width: int, indent: int = 0) -> None:
        self.lines: list[Strip] = []
        self._width = max(width - indent, NARROWEST)
        self._margin = " " * indent
        self._text = ""
        self._open = ""  # the part that may still be wrapped differently, from the start of a line
        self._kept = 0

    def show(self, text: str) -> Sequence[Strip]:
        """The lines of a text: a continuation of the last one, or another."""
        text = text.removesuffix("\r")  # it may be half of a line's end
        if not text.startswith(self._text):
            self.lines, self._text, self._open, self._kept = [], "", "", 0
        if text != self._text:
            self._continue(plain(text[len(self._text) :]))
            self._text = text
        return self.lines

    def _continue(self, text: str) -> None:
        self._open += _alone(text)
        lines = wrapped(self._open, self._width)
        del self.lines[self._kept :]
        self.lines += [row(self._margin + line) for line in lines]
        number, start = _last_start(self._open, lines)
        self._kept += number
        self._open = self._open[start:]


def _last_start(text: str, lines: Sequence[str]) -> tuple[int, int]:
    """The number and start of the last line that begins after a newline, or with a word after a single blank.

    Its wrapping does not depend on earlier lines. After several blanks it could: some of them may end the line before.
    """
    last, place, earlier = (0, 0), 0, 0
    for number, line in enumerate(lines):
        start = text.index(line, place)
        before = text[start - 1 : start]
        single = before.isspace() and "  " not in text[earlier:start] and not line[:1].isspace()
        if line.strip() and (before == "\n" or (single and cell_len(line[0]))):
            last = number, start
        place, earlier = start + len(line), start
    return last


class TableRows(Sequence[Strip]):
    """Lines of a table, each drawn on demand."""

    def __init__(self, count: int, drawn: Callable[[int], Strip]) -> None:
        self._count, self._drawn = count, drawn

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Strip:  # type: ignore[override]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._drawn(index)


class Beside(Sequence[Strip]):
    """Columns of lines side by side, each line joined on demand."""

    def __init__(self, columns: Sequence[Sequence[Strip]], width: int, between: str = " │ ") -> None:
        self._columns = columns
        self._width = width
        self._between = Strip([Segment(between, _DIM)])

    def __len__(self) -> int:
        return max(map(len, self._columns), default=0)

    def __getitem__(self, index: int) -> Strip:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        parts: list[Strip] = []
        for column in self._columns:
            line = column[index] if index < len(column) else Strip.blank(self._width)
            parts += [line.adjust_cell_length(self._width), self._between]
        return Strip.join(parts[:-1])
