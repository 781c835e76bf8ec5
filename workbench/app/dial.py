"""Keys that turn how strong something is: each is a line that could have been typed, `strength +0.1`.

A host runs lines one after another, and a key that is held down makes many. So steps are gathered while a line of
theirs waits or runs, and are then one line: `strength +0.7`.
"""

from __future__ import annotations

from collections.abc import Callable

#: How much a key turns.
STEP = 0.1
_VERB = "strength"


class Dial:
    """The steps of keys that have not been sent yet.

    Args:
        send: runs a line.
    """

    def __init__(self, send: Callable[[str], object]) -> None:
        self._send = send
        self._steps: dict[str, int] = {}

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return any(self._steps.values())

    def turn(self, what: str, steps: int) -> str:
        """Take a step more, up or down. Returns the line that would now be sent for all of its kind."""
        self._steps[what] = self._steps.get(what, 0) + steps
        return _line(what, self._steps[what])

    def flush(self) -> None:
        """Send what has been gathered, a line for each kind."""
        steps, self._steps = self._steps, {}
        for what, count in steps.items():
            if count:
                self._send(_line(what, count))


def is_turn(line: str) -> bool:
    """Whether a line is one that turns something."""
    return line.split(maxsplit=1)[:1] == [_VERB]


def _line(what: str, steps: int) -> str:
    return f"{_VERB} {steps * STEP:+.1f}" + (f" --of {what}" if what else "")
