"""Keys that change the strength of interventions; each press stands for a line, `strength +0.1`.

A key that is held down would queue many lines. So steps are gathered while such a line waits or runs, and are then sent
as one line: `strength +0.7`.
"""

from __future__ import annotations

from collections.abc import Callable

#: The change of strength per key press.
STEP = 0.1
_VERB = "strength"


class Dial:
    """The key steps that have not been sent yet.

    Args:
        send: a function that runs a line.
    """

    def __init__(self, send: Callable[[str], object]) -> None:
        self._send = send
        self._steps: dict[str, int] = {}

    @property
    def waiting(self) -> bool:
        """Whether there are steps to send."""
        return any(self._steps.values())

    def turn(self, what: str, steps: int) -> str:
        """Add steps, up or down. Returns the line that would now be sent for all steps of that kind."""
        self._steps[what] = self._steps.get(what, 0) + steps
        return _line(what, self._steps[what])

    def flush(self) -> None:
        """Send the gathered steps, one line for each kind."""
        steps, self._steps = self._steps, {}
        for what, count in steps.items():
            if count:
                self._send(_line(what, count))


def is_turn(line: str) -> bool:
    """Whether a line changes a strength."""
    return line.split(maxsplit=1)[:1] == [_VERB]


def _line(what: str, steps: int) -> str:
    return f"{_VERB} {steps * STEP:+.1f}" + (f" --of {what}" if what else "")
