"""A command in a real terminal: a pty, its output with times, and the screen that a person would see.

A thread reads all the time, so that times are those of the bytes and the command never waits for a reader. The screen
(pyte) is updated only when it is read, because that costs far more than reading. The terminal answers the queries that
the app makes: synchronised output (mode 2026: yes), in-band resize (2048: no), and the position of the cursor.
"""

from __future__ import annotations

import os
import pty
import re
import selectors
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyte

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "f1": "\x1bOP",
    "f2": "\x1bOQ",
    "f3": "\x1bOR",
    "f4": "\x1bOS",
    **{f"f{number}": f"\x1b[{code}~" for number, code in zip(range(5, 11), (15, 17, 18, 19, 20, 21), strict=True)},
    **{f"ctrl+{letter}": chr(ord(letter) - 96) for letter in "abcdefghijklmnopqrstuvwxyz"},
}
#: One frame begins and ends with these, where drawing in one go is on.
FRAME, FRAME_END = b"\x1b[?2026h", b"\x1b[?2026l"
#: What a program asks, and what it is told.
_ANSWERS = {b"\x1b[?2026$p": b"\x1b[?2026;2$y", b"\x1b[?2048$p": b"\x1b[?2048;0$y", b"\x1b[6n": b"\x1b[1;1R"}
_QUESTION = re.compile(b"|".join(map(re.escape, _ANSWERS)))
_LONGEST = max(map(len, _ANSWERS))
#: Sequences that pyte would print: keyboard modes (kitty) and device strings.
_UNKNOWN = re.compile(rb"\x1b\[[<=>][\d;:]*[a-zA-Z]|\x1b[P_^X].*?\x1b\\", re.DOTALL)
_UNFINISHED = re.compile(rb"\x1b(\[[\d;:<=>?$]*|[P_^X][^\x1b]*\x1b?)?\Z")
_ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[P_^X].*?\x1b\\|[ -/]*[0-~])", re.DOTALL)
_MODE = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
#: How a program finds its way about, and nothing else of the environment that happens to be here.
_KEPT = ("PATH", "HOME", "TMPDIR", "VIRTUAL_ENV", "XDG_RUNTIME_DIR", "PYTHONPATH")


@dataclass(frozen=True)
class Written:
    """Bytes read at once, and their time (`time.monotonic`)."""

    at: float
    data: bytes


class Terminal:
    """A terminal and the command that runs in it.

    Args:
        command: what to run; found on PATH.
        columns, rows: the size of the terminal.
        more: variables to add to a clean environment; "" removes one.
    """

    def __init__(
        self, command: Sequence[str], columns: int = 120, rows: int = 40, more: Mapping[str, str | Path] | None = None
    ) -> None:
        self.columns, self.rows = columns, rows
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(self._master, (rows, columns))
        self.before = termios.tcgetattr(slave)
        self._chunks: list[Written] = []
        self._news = threading.Condition()
        self._wake = os.pipe()
        self._status: int | None = None
        self.began = time.monotonic()
        self.pid = _spawned(command, os.ttyname(slave), environment(more or {}))
        os.close(slave)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._drawn, self._rest = 0, b""
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Keys

    def type(self, text: str) -> float:
        """Type text. Returns the time at which the first byte was written."""
        data = text.encode()
        at = time.monotonic()
        while data:
            data = data[os.write(self._master, data) :]
        return at

    def press(self, *keys: str) -> float:
        """Press keys by name."""
        return self.type("".join(KEYS.get(key, key) for key in keys))

    def enter(self, line: str) -> float:
        """Type a line and send it."""
        return self.type(f"{line}\r")

    def paste(self, text: str) -> float:
        """Paste text in brackets, as terminals do when the program has asked for that."""
        return self.type(f"\x1b[200~{text}\x1b[201~")

    def resize(self, columns: int, rows: int) -> None:
        """Resize the terminal; the program gets SIGWINCH."""
        self._draw()
        self.columns, self.rows = columns, rows
        self._screen.resize(rows, columns)
        termios.tcsetwinsize(self._master, (rows, columns))

    # What is seen

    @property
    def lines(self) -> list[str]:
        """The lines on the screen."""
        self._draw()
        return [line.rstrip() for line in self._screen.display]

    @property
    def shown(self) -> str:
        """The whole screen as text."""
        return "\n".join(self.lines)

    def until(self, found: str | Callable[[], object], seconds: float = 20) -> float:
        """Wait until text is on the screen, or a condition is true. Returns the seconds that it took.

        Raises:
            AssertionError: that does not happen in time.
        """
        start = time.monotonic()
        while True:
            seen = len(self._chunks)
            if found in self.shown if isinstance(found, str) else found():
                return time.monotonic() - start
            if time.monotonic() - start > seconds:
                what = repr(found) if isinstance(found, str) else "what was waited for"
                raise AssertionError(f"{what} is not there after {seconds:g} s; there is:\n{self.shown}")
            with self._news:
                if seen == len(self._chunks):
                    self._news.wait(0.05)

    def still(self, seconds: float = 0.3, most: float = 20) -> None:
        """Wait until nothing has been written for some seconds, from now on."""
        start = time.monotonic()
        while time.monotonic() < start + most:
            last = self._chunks[-1].at if self._chunks else start
            left = max(last, start) + seconds - time.monotonic()
            if left <= 0:
                return
            time.sleep(left)
        raise AssertionError(f"it did not fall silent for {seconds:g} s")

    # What is written

    def written(self, since: float = 0.0) -> list[Written]:
        """What was written from some time on."""
        return [chunk for chunk in self._chunks if chunk.at >= since]

    def raw(self, since: float = 0.0) -> bytes:
        """The same, in one piece."""
        return b"".join(chunk.data for chunk in self.written(since))

    def when(self, data: bytes, since: float, seconds: float = 5) -> float:
        """Wait for bytes written after some time. Returns the time at which they were complete.

        Raises:
            AssertionError: they are not written in time.
        """
        end = time.monotonic() + seconds
        while True:
            seen = len(self._chunks)
            found = b""
            for chunk in self.written(since):
                found = found[-len(data) :] + chunk.data
                if data in found:
                    return chunk.at
            if time.monotonic() > end:
                raise AssertionError(f"{data!r} was not written within {seconds:g} s")
            with self._news:
                if seen == len(self._chunks):
                    self._news.wait(0.05)

    def first_paint(self, seconds: float = 20) -> float:
        """Wait for the first visible output. Returns the seconds since the start of the command."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for count, chunk in enumerate(self._chunks, 1):
                if _ESCAPES.sub(b"", b"".join(each.data for each in self._chunks[:count])).strip(b"\x1b[ \r\n\0"):
                    return chunk.at - self.began
            with self._news:
                self._news.wait(0.05)
        raise AssertionError("nothing was drawn")

    @property
    def modes(self) -> set[int]:
        """The private modes that are on (1049 the second screen, 1000 … the mouse, 2004 pasting in brackets …)."""
        on: set[int] = {25}
        for numbers, way in _MODE.findall(self.raw()):
            found = {int(number) for number in numbers.split(b";")}
            on = on | found if way == b"h" else on - found
        return on - {2026}

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal's settings are those from before the command."""
        return termios.tcgetattr(self._master)[:4] == self.before[:4]

    # Its end

    def kill(self, number: signal.Signals) -> None:
        """Send the command a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def exit_code(self, seconds: float = 15) -> int:
        """Wait for the command to end. Returns its exit code, or minus the signal that ended it.

        Raises:
            AssertionError: it does not end in time.
        """
        end = time.monotonic() + seconds
        while self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
                time.sleep(0.05)  # the last of what it wrote
            elif time.monotonic() > end:
                raise AssertionError(f"it has not ended after {seconds:g} s; there is:\n{self.shown}")
            else:
                time.sleep(0.01)
        return self._status

    def hang_up(self) -> None:
        """Close the terminal under the command, as a dropped connection does."""
        self._stop_reading()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def close(self) -> None:
        """End the command, by force if necessary, and close the terminal."""
        if self._status is None:
            self.kill(signal.SIGKILL)
            self.exit_code()
        self.hang_up()

    # In here

    def _read(self) -> None:
        tail = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._master, selectors.EVENT_READ)
            selector.register(self._wake[0], selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._wake[0] in ready:
                    return
                try:
                    data = os.read(self._master, 65536)
                except OSError:  # nobody has the other side any more
                    return
                with self._news:
                    self._chunks.append(Written(time.monotonic(), data))
                    self._news.notify_all()
                tail = self._answered(tail + data)

    def _answered(self, data: bytes) -> bytes:
        """Answer what is asked in it. Returns the part of it that may be the beginning of a question."""
        end = 0
        for question in _QUESTION.finditer(data):
            end = question.end()
            with suppress(OSError):
                os.write(self._master, _ANSWERS[question[0]])
        return data[max(end, len(data) - _LONGEST + 1) :]

    def _stop_reading(self) -> None:
        if self._reader.is_alive():
            os.write(self._wake[1], b"x")
            self._reader.join()
        for descriptor in self._wake:
            with suppress(OSError):
                os.close(descriptor)
        self._wake = (-1, -1)

    def _draw(self) -> None:
        chunks = self._chunks[self._drawn :]
        self._drawn += len(chunks)
        data = self._rest + b"".join(chunk.data for chunk in chunks)
        unfinished = _UNFINISHED.search(data)
        end = unfinished.start() if unfinished else len(data)
        data, self._rest = data[:end], data[end:]
        self._stream.feed(_UNKNOWN.sub(b"", data))


def environment(more: Mapping[str, str | Path]) -> dict[str, str]:
    """A clean environment with a capable terminal, and `more` variables; "" removes one."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    clean = {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    return {name: str(value) for name, value in {**clean, **more}.items() if str(value)}


def _spawned(command: Sequence[str], tty: str, surroundings: dict[str, str]) -> int:
    """Start it in a session of its own; the first terminal that it opens is then the one that controls it."""
    path = command[0] if "/" in command[0] else _found(command[0], surroundings.get("PATH", os.defpath))
    opened = (os.POSIX_SPAWN_OPEN, 0, tty, os.O_RDWR, 0)
    return os.posix_spawn(
        path,
        list(command),
        surroundings,
        file_actions=[opened, (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGHUP, signal.SIGINT, signal.SIGTERM),
    )


def _found(name: str, path: str) -> str:
    import shutil

    found = shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(name)
    return found


def workbench(*args: str | Path) -> list[str]:
    """The command of this workbench."""
    return [sys.executable, "-P", "-m", "workbench", *map(str, args)]
