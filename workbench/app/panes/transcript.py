"""The transcript: every line that was run, its author, and its output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.console import RenderableType
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.strip import Strip

from sessions.events import Failed, Result
from workbench.app.scroll_pane import Paragraph, RichParagraph, ScrollPane
from workbench.app.session_view import Facet, HistoryEntry, SessionView
from workbench.app.wrapping import NARROWEST, Growing, row, strips, tail, wrapped, written_out
from workbench.rendering.outcomes import failure, present
from workbench.writing import fitted, inline

_MARK, _CURSOR = "> ", "▸ "
_BOLD, _DIM = Style(bold=True), Style(dim=True)
#: The indentation of a line's output, and of the lines of a command file.
_INDENT = 2
_FIRST = (
    "Nothing has been run yet. To begin, type line by line:",
    "  model smollm2",
    "  prompt What is the capital of Texas?",
    "  generate",
    "help lists all verbs.",
)


class TranscriptPane(ScrollPane):
    """The lines that were run, oldest first. Enter puts the line at the cursor into the command line.

    `own` is the author of this client's lines; other authors are shown.
    """

    heading: ClassVar[str] = "Transcript"
    facets: ClassVar[Facet] = Facet.ENTRIES | Facet.HOST
    follows: ClassVar[bool] = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", "line", id="transcript.up", show=False),
        Binding("down,j", "step(1)", "line", id="transcript.down", show=False),
        Binding("enter", "take_up", "again", id="transcript.again"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.own = ""
        self._entries: dict[HistoryEntry, EntryBlock] = {}
        self._chosen: EntryBlock | None = None  # None: always the last

    def show(self, view: SessionView, changed: Facet) -> None:
        known = self._entries
        self._entries = {entry: known.get(entry) or EntryBlock(entry, self.own) for entry in view.entries}
        if self._chosen is not None and self._chosen.entry not in self._entries:
            self._chosen = None
        blocks: list[Paragraph] = list(self._entries.values())
        if not blocks and not view.host:
            blocks = [RichParagraph(*(Text(line, style="dim") for line in _FIRST))]
        if view.missed:
            blocks.insert(0, _remark(f"{view.missed:,} messages before this are no longer kept"))
        if view.host:
            blocks.append(_remark(view.host))
        self.blocks = blocks
        self.settle()

    def chosen(self) -> str:
        block = self._at_cursor()
        return block.text() if block else ""

    def text(self) -> str:
        return "\n\n".join(block.text() for block in self._entries.values())

    def remarks(self) -> str:
        block = self._at_cursor()
        if self.at_end or block is None:
            return ""
        return f"{list(self._entries.values()).index(block) + 1:,} of {len(self._entries):,}"

    def dressed(self, block: Paragraph, number: int, line: Strip) -> Strip:
        if number or not self.has_focus or block is not self._at_cursor():
            return line
        cursor = self.get_component_rich_style("scroll--cursor", partial=True)
        return row(*((_CURSOR if text == _MARK else text, style and style + cursor) for text, style, _ in line))

    def action_step(self, lines: int) -> None:
        """Move the cursor by some lines of the transcript."""
        blocks = list(self._entries.values())
        if not blocks:
            return
        block = self._at_cursor()
        place = blocks.index(block) + lines if block else 0
        self._choose(blocks[min(max(place, 0), len(blocks) - 1)])

    def action_first(self) -> None:
        self._chosen = next(iter(self._entries.values()), None)
        super().action_first()

    def action_last(self) -> None:
        self._chosen = None
        super().action_last()

    def action_take_up(self) -> None:
        """Put the line at the cursor into the command line."""
        block = self._at_cursor()
        if block:
            self.post_message(self.Typed(block.entry.line.strip()))

    def on_click(self, event: events.Click) -> None:
        block = self.at_row(event.y)
        if isinstance(block, EntryBlock):
            self._choose(block)

    def _at_cursor(self) -> EntryBlock | None:
        return self._chosen or next(reversed(self._entries.values()), None)

    def _choose(self, block: EntryBlock) -> None:
        last = next(reversed(self._entries.values()), None)
        self._chosen = None if block is last else block
        self.jump(block)


def _remark(text: str) -> Paragraph:
    """A remark that is not the output of a line."""
    return RichParagraph(Text(f"· {inline(text)}", style="dim"))


class EntryBlock(Paragraph):
    """A line with its output."""

    def __init__(self, entry: HistoryEntry, own: str = "") -> None:
        self.entry = entry
        self._own = own
        self._growing: tuple[int, Growing] | None = None

    def stamp(self) -> object:
        return self.entry.version, self.entry.before, self.entry.started

    def drawn(self, width: int) -> Sequence[Strip]:
        indent = _INDENT if self.entry.where else 0
        return [*self._heading(width, indent), *self._output(width, indent + _INDENT)]

    def text(self) -> str:
        """The whole entry as text for another program, with paragraphs unwrapped."""
        entry = self.entry
        streamed = [text for text in entry.texts.values() if text] if not isinstance(entry.outcome, Result) else []
        outcome = written_out(_outcome(entry, 99))
        return "\n".join([f"> {inline(entry.line.strip())}", *streamed, *([outcome] if outcome else [])])

    def _heading(self, width: int, indent: int) -> Iterator[Strip]:
        """The line, with its origin at the right end."""
        entry = self.entry
        style = _BOLD if entry.started or entry.outcome else _DIM
        margin = " " * indent
        first, *rest = wrapped(inline(entry.line.strip()) or "…", max(width - indent - 2, 1))
        origin = self._origin()
        room = width - indent - 2 - cell_len(first) - cell_len(origin)
        after = " " * room + origin if origin and room > 1 else ""
        yield row(margin, (_MARK, style), (first, style), (after, _DIM))
        for line in rest:
            yield row(margin, ("  " + line, style))

    def _origin(self) -> str:
        entry = self.entry
        if entry.where:
            return inline(entry.where.replace("\\", "/").rsplit("/", 1)[-1])
        return inline(entry.author) if self._own and entry.author != self._own else ""

    def _output(self, width: int, indent: int) -> Iterator[Strip]:
        entry = self.entry
        if entry.outcome is None or isinstance(entry.outcome, Failed):
            yield from self._streamed(width, indent)
        for renderable in _outcome(entry, width - indent):
            yield from strips(renderable, width, indent)

    def _streamed(self, width: int, indent: int) -> Iterator[Strip]:
        """The streamed text so far; of several texts the last words, since another pane shows them whole."""
        for arm, text in self.entry.texts.items():
            if not arm:
                if self._growing is None or self._growing[0] != width:
                    self._growing = width, Growing(width, indent)
                yield from self._growing[1].show(text)
                continue
            name = f"{fitted(inline(arm), 16)} ▏ "
            words = tail(text, width - indent - cell_len(name))
            yield row(" " * indent, (name, _DIM), words)


def _outcome(entry: HistoryEntry, width: int) -> list[RenderableType]:
    """The result or failure of a line; until then, what it waits for."""
    match entry.outcome:
        case Result(value=value, seconds=seconds):
            return present(value, max(width, NARROWEST), seconds)
        case Failed(message=message, hint=hint, where=where):
            return [*failure(f"{where}: {message}" if where and where != entry.where else message, hint)]
    if not entry.started:
        lines = "a line" if entry.before == 1 else f"{entry.before:,} lines"
        return [Text(f"waiting for {lines}" if entry.before else "waiting", style="dim")]
    return [] if any(entry.texts.values()) else [Text("…", style="dim")]
