"""The lines around the panes: the session's status, the message under the command line, and the keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from workbench.app.session_view import SessionView
from workbench.app.wrapping import strips, wrapped
from workbench.host import JOURNAL
from workbench.rendering.outcomes import standing
from workbench.writing import fitted, inline

#: The most rows of a message.
MOST_ROWS = 4
#: The least cells of the prompt in the status line; with less, it is left out.
_LEAST_PROMPT = 16


class StatusLine(Widget):
    """The session in one line."""

    def __init__(self) -> None:
        super().__init__()
        self._view = SessionView()

    def show(self, view: SessionView) -> None:
        self._view = view
        self.refresh()

    def render_line(self, y: int) -> Strip:
        lines = strips(status(self._view, self.size.width), self.size.width) if y == 0 else []
        return (lines[0] if lines else Strip([])).adjust_cell_length(self.size.width).apply_style(self.rich_style)


def status(view: SessionView, width: int) -> Text:
    """The session in one line. If it is too long, the least important parts are left out, first the prompt."""
    host = f"host {inline(view.name or JOURNAL)}"
    parts = {**standing(view.state), "host": host}
    if view.host:
        parts["host"] = f"{host}: {inline(view.host)}"
    for name in ("prompt", "circuit", "model") if view.host else ("prompt", "host", "circuit"):
        spare = width - cell_len(_joined(parts))
        if spare >= 0:
            break
        shortened = fitted(parts.get(name, ""), cell_len(parts.get(name, "")) + spare)
        if name == "prompt" and cell_len(shortened) > _LEAST_PROMPT:
            parts[name] = shortened
        else:
            parts.pop(name, None)
    return Text(fitted(_joined(parts), width), no_wrap=True)


def _joined(parts: dict[str, str]) -> str:
    return " " + " │ ".join(parts.values())


@dataclass(frozen=True)
class Remark:
    """A message under the command line: a text, a hint, and the column of the line that it is about."""

    text: str = ""
    hint: str = ""
    column: int | None = None
    wrong: bool = False

    def rows(self, width: int, pointer: int | None = None) -> list[str]:
        """The rows of the message; if `pointer` is given, with a `^` under that cell."""
        if not self.text or width < 1:
            return []
        text = f"✗ {inline(self.text)}" if self.wrong else inline(self.text)
        whole = f"{text} → {inline(self.hint)}" if self.hint else text
        if pointer is None or pointer >= width:
            return _cut(wrapped(whole, width), width)
        if pointer + 2 + cell_len(whole) <= width:
            return [f"{' ' * pointer}^ {whole}"]
        if cell_len(whole) + 1 <= pointer:
            return [f"{' ' * (pointer - 1 - cell_len(whole))}{whole} ^"]
        return _cut([" " * pointer + "^", *wrapped(whole, width)], width)


def _cut(rows: list[str], width: int) -> list[str]:
    if len(rows) <= MOST_ROWS:
        return rows
    return [*rows[: MOST_ROWS - 1], fitted(f"{rows[MOST_ROWS - 1]} …", width)]


class MessageLine(Widget):
    """The message under the command line."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"message--wrong"}
    DEFAULT_CSS = """
    MessageLine { color: $text-muted; }
    MessageLine > .message--wrong { color: $text-error; text-style: bold; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.remark = Remark()
        self.pointer: int | None = None

    def say(self, remark: Remark, pointer: int | None = None) -> None:
        """Show a remark; an empty one clears the line."""
        if (remark, pointer) != (self.remark, self.pointer):
            self.remark, self.pointer = remark, pointer
            self.refresh()

    def rows(self, width: int) -> int:
        """How many rows the message needs."""
        return len(self.remark.rows(width, self.pointer))

    def render_line(self, y: int) -> Strip:
        rows = self.remark.rows(self.size.width, self.pointer)
        style = self.get_component_rich_style("message--wrong") if self.remark.wrong else None
        line = Strip([Segment(rows[y], style)]) if y < len(rows) else Strip([])
        return line.adjust_cell_length(self.size.width).apply_style(self.rich_style)


class UsefulKey(NamedTuple):
    """A key as written on the screen, what it does, and the key that a click stands for; "" if it is several."""

    written: str
    about: str
    key: str = ""


class Keys(Widget):
    """The most useful keys, as many as fit. A click on one presses it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keys--key"}
    DEFAULT_CSS = """
    Keys { color: $text-muted; }
    Keys > .keys--key { color: $text-accent; text-style: bold; }
    """

    @dataclass
    class Pressed(Message):
        """A key was clicked."""

        key: str

    def __init__(self) -> None:
        super().__init__()
        self._keys: Sequence[UsefulKey] = ()

    def show(self, keys: Iterable[UsefulKey]) -> None:
        """Show keys and what they do."""
        new = tuple(keys)
        if new != self._keys:
            self._keys = new
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        for left, key in self._placed():
            if left <= event.x < left + cell_len(f"{key.written} {key.about}") and key.key:
                self.post_message(self.Pressed(key.key))

    def _placed(self) -> Iterator[tuple[int, UsefulKey]]:
        """The keys that fit, each with its first cell."""
        left = 1
        for key in self._keys:
            cells = cell_len(f"{key.written} {key.about}  ")
            if left + cells > self.size.width + 2:
                return
            yield left, key
            left += cells

    def render_line(self, y: int) -> Strip:
        style = self.get_component_rich_style("keys--key", partial=True)
        segments = [Segment(" ")]
        for _, key in self._placed() if y == 0 else ():
            segments += [Segment(key.written, style), Segment(f" {key.about}  ")]
        return Strip(segments).adjust_cell_length(self.size.width).apply_style(self.rich_style)
