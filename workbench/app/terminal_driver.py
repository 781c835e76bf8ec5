"""Terminal driver that survives invalid UTF-8."""

from __future__ import annotations

import os
import select

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

#: Seconds without a byte after which a paste has ended.
_QUIET = 0.2


class NotText(Message):
    """The input was invalid UTF-8 and has been dropped."""


class ForgivingDriver(LinuxDriver):
    """A driver that drops invalid UTF-8 with all input around it: half a paste must not run as lines."""

    def run_input_thread(self) -> None:
        while not self.exit_event.is_set():
            try:
                super().run_input_thread()
            except UnicodeDecodeError:
                while select.select([self.fileno], [], [], _QUIET)[0] and os.read(self.fileno, 2**16):
                    pass
                self._app.post_message(NotText())
