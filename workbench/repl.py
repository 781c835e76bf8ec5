"""The line REPL: one session, one command after another, in any terminal.

Tab completes, the rest of an earlier line appears in grey (→ takes it), ctrl-c stops the running command and never
the session, ctrl-d leaves. If stdin or stdout is not a terminal, lines are read from stdin and run one by one.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import History as Stored
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import Style
from rich.cells import cell_len

from commands import calling
from commands.line import is_blank
from sessions.errors import WorkbenchError
from sessions.events import Event, Failed, Result, Started, State
from sessions.results import Quit
from workbench.app.first_steps import IN_SHORT
from workbench.history import History
from workbench.host import FROM_APP
from workbench.interrupts import interruptible
from workbench.lines import Lines, console
from workbench.output import is_refused
from workbench.rendering.outcomes import standing
from workbench.source import LineSource
from workbench.writing import fitted, inline

PROMPT = "wb> "
GREETING = "tab completes · ctrl-c stops a command · ctrl-d leaves · help"
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse dim", "auto-suggestion": "dim", "prompt": "bold"})


def start(source: LineSource, model: str | None = None) -> int:
    """Run lines until there are no more. Returns the exit code: 1 if a piped line failed, else 0."""
    repl = Repl(source, Lines(console(), console(stderr=True)))
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        repl.lines.remark(GREETING)
        if model is None and not source.state().model:
            repl.lines.remark(f"to begin: {IN_SHORT}")
    if model is not None:
        repl.run(calling.call_line("model", model))
    if interactive:
        repl.converse(prompting(source))
        return 0
    repl.read(sys.stdin.buffer)
    return 1 if repl.failed else 0


class Repl:
    """Runs lines in a session, local or a host's, and shows their events. `failed`: whether any line failed."""

    def __init__(self, source: LineSource, lines: Lines) -> None:
        self.source = source
        self.lines = lines
        self.failed = False

    def converse(self, prompt: PromptSession[str]) -> None:
        """Prompt for lines until the user leaves."""
        while True:
            try:
                typed = prompt.prompt()
            except KeyboardInterrupt:
                continue  # the line is given up, as in a shell
            except EOFError:
                return
            pasted = re.split(r"\r\n|\n|\r", typed)
            for line in pasted:
                if not self.run(line, echo=len(pasted) > 1):
                    return

    def read(self, stream: Iterable[bytes]) -> None:
        """Run the lines of a stream; failures do not stop it."""
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode()
            except UnicodeDecodeError:
                self.failed = True
                self.lines.failure(f"line {number} is not UTF-8", "save the text as UTF-8")
                continue
            if not self.run(text.rstrip("\r\n")):
                return

    def run(self, line: str, echo: bool = True) -> bool:
        """Run one line. `echo` shows it first, for lines that were not typed here. Returns whether to go on."""
        if is_blank(line):
            return True
        with interruptible(self.source.cancel), closing(self.source.run(line)) as events:
            try:
                return self._follow(events, line, echo)
            except KeyboardInterrupt:  # raised between two steps of the command
                self.lines.show(Failed("cancelled", "cancelled"))
            except (
                Exception
            ) as defect:  # in code that shows results: keep the session, its model may have taken an hour
                if isinstance(defect, OSError) and is_refused(defect):
                    raise  # stdout is closed
                self.lines.close()
                traceback.print_exc()
                self.lines.failure(f"a defect of the workbench: {defect!r}", "the session remains usable")
            finally:
                self.lines.close()
        self.failed = True
        return True

    def _follow(self, events: Iterable[Event], line: str, echo: bool) -> bool:
        """Show the events of a line. Returns whether to go on after it."""
        outcome: Result | Failed | None = None
        for number, event in enumerate(events):
            if number == 0 and echo:
                self.lines.show(Started("", line))
            if isinstance(event, Failed) and event.column is not None:  # the line could not be parsed
                indent = len("> " if echo else PROMPT)
                self.lines.remark(_pointer(line, event.column, indent, self.lines.width))
            if number or not isinstance(event, Started):  # the line is on the screen already
                self.lines.show(event)
            if isinstance(event, Result | Failed):
                outcome = event
        self.failed |= isinstance(outcome, Failed)
        return not (isinstance(outcome, Result) and isinstance(outcome.value, Quit))


def _pointer(line: str, column: int, indent: int, width: int) -> str:
    """A `^` under a column of the line above. A line too long for one row is repeated in part."""
    before, after = inline(line[:column]), inline(line[column:])
    if indent + cell_len(before + after) < width:
        return " " * (indent + cell_len(before)) + "^"
    before = "…" + before[-(width // 4) :]
    return f"{before}{fitted(after, width - cell_len(before))}\n{' ' * cell_len(before)}^"


def prompting(source: LineSource) -> PromptSession[str]:
    """A prompt with completion, history as ghost text, and the session's state below."""
    return PromptSession(
        PROMPT,
        completer=_Words(source),
        complete_while_typing=False,  # ghost text shows while typing, the menu on tab
        history=_History(source.home / "history"),
        auto_suggest=AutoSuggestFromHistory(),
        enable_history_search=True,
        enable_suspend=True,
        bottom_toolbar=lambda: fitted(described(source.state()), get_app().output.get_size().columns),
        style=_STYLE,
        key_bindings=_keys(),
    )


def _keys() -> KeyBindings:
    """The keys besides those of every prompt: F9 leads back to the app, if that started this REPL."""
    keys = KeyBindings()
    if os.environ.get(FROM_APP):

        @keys.add("f9")
        def _(event: KeyPressEvent) -> None:
            event.app.exit(exception=EOFError())

    return keys


def described(state: State) -> str:
    """The session in one line: model, circuit, prompt."""
    return " │ ".join(standing(state).values() if state.model else ["no model", "model smollm2 opens one"])


class _Words(Completer):
    """The grammar's completions with their descriptions."""

    def __init__(self, source: LineSource) -> None:
        self._source = source

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        cursor = document.cursor_position
        with suppress(WorkbenchError, OSError):  # an unreadable home has no names to offer; using it says why
            for word in self._source.complete(document.text, cursor):
                yield Completion(
                    word.text, word.start - cursor, display=inline(word.text), display_meta=inline(word.description)
                )


class _History(Stored):
    """The history in the interface of prompt-toolkit."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._history = History(path)

    def load_history_strings(self) -> Iterable[str]:
        return reversed(self._history.stored())

    def store_string(self, string: str) -> None:
        self._history.add(string)
