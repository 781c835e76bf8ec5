"""The driver of the terminal, which bytes that are no text do not bring down."""

from __future__ import annotations

import os
import select

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

#: Seconds without a byte after which what was pasted has come to its end.
_QUIET = 0.2


class NotText(Message):
    """Bytes came that are no UTF-8."""


class ForgivingDriver(LinuxDriver):
    """Where bytes come that are no UTF-8, it drops all that comes with them: half a paste must not be run as lines."""

    def run_input_thread(self) -> None:
        while not self.exit_event.is_set():
            try:
                super().run_input_thread()
            except UnicodeDecodeError:
                while select.select([self.fileno], [], [], _QUIET)[0] and os.read(self.fileno, 2**16):
                    pass
                self._app.post_message(NotText())
