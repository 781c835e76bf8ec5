"""The command line, with a suggestion in grey after the typed text and errors below it.

It runs nothing. It posts messages to show below it (`Remarked`), completions to choose from (`Offered`), and lines to
run (`Entered`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer

from commands import completing, grammar
from commands.completing import Completion
from commands.line import is_blank
from sessions.errors import UsageError
from workbench.app.bars import Remark
from workbench.app.choices import Choice
from workbench.app.line_input import LONGEST, LineInput
from workbench.history import History

#: Seconds without a key after which a line is checked.
PAUSE = 0.15
#: The most entries of the history that a search offers.
_MOST_FOUND = 50

Completer = Callable[[str, int], Sequence[Completion]]


class CommandLine(LineInput):
    """One line, with history, completion and errors.

    Args:
        history: the history of typed lines.
        complete: returns completions of the word at a cursor; called in a thread.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", id="line.complete", show=False),
        Binding("up", "earlier", "earlier line", id="line.earlier", show=False),
        Binding("down,ctrl+n", "later", "later line", id="line.later", show=False),
        Binding("ctrl+r", "search", "search the history", id="line.search", show=False),
        Binding("escape", "close", "close the list", id="line.close", show=False),
        Binding("ctrl+d", "delete_or_leave", "delete, or leave", id="line.leave", show=False),
    ]

    @dataclass
    class Entered(Message):
        """Lines to run, one after another."""

        lines: list[str]

    class Left(Message):
        """The user wants to leave."""

    @dataclass
    class Remarked(Message):
        """A remark to show under the line; its `column` is one of the line's."""

        remark: Remark

    @dataclass
    class Offered(Message):
        """Completions of the word that begins at `column`; none to close the list."""

        choices: Sequence[Choice]
        column: int
        at: int

    def __init__(self, history: History, complete: Completer) -> None:
        super().__init__()
        self.pasted: list[str] = []
        self._history, self._complete = history, complete
        self._before_paste = ("", 0)
        self._words: Sequence[Completion] = ()
        self._at = -1
        self._pause: Timer | None = None
        self._browsing: tuple[str, int] | None = None
        self._said = False

    @property
    def earlier(self) -> Sequence[str]:
        """The lines typed before, oldest first."""
        return self._history.lines

    # Lines put in by others

    def put(self, line: str) -> None:
        """Replace the text by a line for the user to continue."""
        self._close()
        super().put(line)

    def put_back(self, lines: Sequence[str]) -> None:
        """Put back lines that were not run. A single line goes to the history if the user is typing another."""
        if len(lines) == 1:
            if self.value.strip():
                self._history.add(lines[0])
            else:
                self.put(lines[0])
        elif lines:
            self.pasted = list(lines)

    # Typing

    def watch_value(self, value: str) -> None:
        self.ghost = self._continuation(value)
        if self._browsing is not None and self._history.lines[self._browsing[1] :][:1] != [value]:
            self._browsing = None
        if self._said:
            self._say(Remark())
        if self._pause is not None:
            self._pause.stop()
            self._pause = None
        if value:
            self._pause = self.set_timer(PAUSE, self._look)
        if self._words:
            self.call_next(self._ask, open_list=True)  # after the cursor has moved

    def _continuation(self, value: str) -> str:
        """The suggested rest of the line, shown in grey."""
        if not value.strip() or len(value) > 1000:
            return ""
        for line in reversed(self._history.lines):
            if line.startswith(value) and line != value and "\n" not in line:
                return line[len(value) :]
        first, gap, _ = value.lstrip().partition(" ")
        examples = [verb.example for verb in grammar.VERBS.values() if gap and verb.head == first]
        example = next((example for example in examples if example.startswith(value) and example != value), "")
        if example:
            return example[len(value) :]
        words = completing.complete(value)
        whole = value[: words[0].start] + words[0].text if words else ""
        return whole[len(value) :] if whole.startswith(value) and not value.endswith(" ") else ""

    def _look(self) -> None:
        """Show an error in a finished word; a word that is being typed may still become right."""
        given = grammar.words_of(self.value, unfinished=True)
        if not given or given[-1].open:
            return
        wrong = self._wrong(self.value)
        if wrong is not None and wrong.column is not None and re.match(r"\S+\s", self.value[wrong.column :]):
            self._say(wrong)

    def _wrong(self, line: str) -> Remark | None:
        try:
            grammar.parse(line)
        except UsageError as error:
            return Remark(error.message, error.hint, error.column, wrong=True)
        return None

    def _say(self, remark: Remark) -> None:
        self._said = bool(remark.text)
        self.post_message(self.Remarked(remark))

    def restricted(self) -> None:
        self._say(Remark(f"a line has {LONGEST:,} characters at most", "put a long text into a command file"))

    async def action_submit(self) -> None:
        if self._words and self._at >= 0:
            self._take(self._words[self._at])
            return
        self._close()
        if self.pasted:
            lines, self.pasted = self.pasted, []
            self._say(Remark())
            self.post_message(self.Entered(lines))
            return
        line = self.value.strip()
        if is_blank(line):
            self.value = ""
            return
        wrong = self._wrong(self.value)
        if wrong is not None:
            self._say(wrong)
            return
        self._history.add(line)
        self.value = ""
        self.post_message(self.Entered([line]))

    def action_delete_or_leave(self) -> None:
        if self.value:
            self.action_delete_right()
        else:
            self.post_message(self.Left())

    # Pasting

    def take_pasted(self, lines: list[str]) -> None:
        value, cursor = self.value, self.cursor_position
        longest = max(map(len, lines))
        if longest > LONGEST:
            self._say(
                Remark(
                    f"the pasted line has {longest:,} characters; the limit is {LONGEST:,}",
                    "put it into a command file",
                    wrong=True,
                )
            )
            return
        filled = [line for line in lines if not is_blank(line)]
        if len(filled) <= 1:
            line = filled[0] if filled else value
            self.value = line
            self.cursor_position = len(line) - len(value) + cursor
            return
        self._before_paste = (value, cursor)
        self.pasted = filled
        self.value = ""
        self.tell_pasted()

    def tell_pasted(self) -> None:
        """Show how many pasted lines wait."""
        if self.pasted:
            count = len(self.pasted)
            self._say(Remark(f"{count:,} lines pasted · enter runs them one after another · esc forgets them"))

    # Completion

    def action_complete(self) -> None:
        if self._words:
            self._move(1)
        else:
            self._ask(open_list=False)

    def _ask(self, open_list: bool) -> None:
        """Request completions of the word at the cursor; `open_list`: the list is open already."""
        ask = partial(self._answer, self.value, self.cursor_position, open_list)
        self.run_worker(ask, thread=True, exclusive=True, group="completion", exit_on_error=False)

    def _answer(self, line: str, cursor: int, was_open: bool) -> None:
        words = self._complete(line, cursor)
        self.app.call_from_thread(self._answered, line, cursor, was_open, words)

    def _answered(self, line: str, cursor: int, was_open: bool, words: Sequence[Completion]) -> None:
        if (line, cursor) != (self.value, self.cursor_position):
            return
        if was_open:
            self._offer(words, -1)
        elif len(words) == 1:
            self._take(words[0])
        elif words:
            start = words[0].start
            shared = _shared([word.text for word in words])
            if len(shared) > cursor - start and shared.startswith(line[start:cursor]):
                self.value = line[:start] + shared + line[cursor:]
                self.cursor_position = start + len(shared)
            self._offer(words, 0)
        else:
            self._say(Remark("no completion"))

    def _offer(self, words: Sequence[Completion], at: int) -> None:
        self._words, self._at = words, at if words else -1
        self._post_offer()

    def _post_offer(self) -> None:
        choices = [Choice(word.text, word.description) for word in self._words]
        self.post_message(self.Offered(choices, self._words[0].start if self._words else 0, self._at))

    def _move(self, rows: int) -> None:
        count = len(self._words)
        self._at = (self._at + rows) % count if self._at >= 0 or rows > 0 else count - 1
        self._post_offer()

    def choose(self, row: int) -> None:
        """Take the completion in a row."""
        if row < len(self._words):
            self._take(self._words[row])

    def _take(self, taken: Completion) -> None:
        before, after = self.value[: taken.start], self.value[self.cursor_position :]
        whole = not taken.text.endswith(("/", "=")) and not after.startswith(" ") and "\n" not in taken.text
        text = taken.text + (" " if whole and taken.start + len(taken.text) < LONGEST else "")
        self._close()
        self.value = before + text + after
        self.cursor_position = len(before + text)

    def _close(self) -> None:
        if self._words:
            self._offer((), -1)

    def action_close(self) -> None:
        if self._words:
            self._close()
        elif self.pasted:
            self.pasted = []
            self.value, self.cursor_position = self._before_paste
            self._say(Remark())
        else:
            raise SkipAction

    # History

    def action_search(self) -> None:
        """Offer earlier lines that contain the typed text, the last first."""
        typed = self.value.strip()
        lines = dict.fromkeys(line for line in reversed(self._history.lines) if typed in line and "\n" not in line)
        if not lines:
            self._say(Remark("no earlier line contains this" if typed else "the history is empty"))
            return
        self.cursor_position = len(self.value)
        self._offer([Completion(0, line, "") for line in list(lines)[:_MOST_FOUND]], 0)

    def action_earlier(self) -> None:
        if self._words:
            self._move(-1)
            return
        prefix, at = self._browsing or (self.value[: self.cursor_position], len(self._history.lines))
        for row in range(at - 1, -1, -1):
            if self._show_earlier(prefix, row):
                return

    def action_later(self) -> None:
        if self._words:
            self._move(1)
            return
        if self._browsing is None:
            return
        prefix, at = self._browsing
        for row in range(at + 1, len(self._history.lines)):
            if self._show_earlier(prefix, row):
                return
        self._browsing = None
        self.put(prefix)

    def _show_earlier(self, prefix: str, row: int) -> bool:
        line = self._history.lines[row]
        if not line.startswith(prefix) or line == self.value or "\n" in line:
            return False
        self._browsing = (prefix, row)
        self.value = line
        self.cursor_position = len(line)
        return True


def _shared(texts: Sequence[str]) -> str:
    """The common beginning of all texts."""
    first, last = min(texts), max(texts)
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:same]
