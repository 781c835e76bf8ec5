"""The line REPL on a host's session: what it said last, then the prompt.

A line that runs is followed to its end first, whoever typed it; ctrl-c stops it as if it had been typed here.
"""

from __future__ import annotations

import sys

from sessions.events import Progress, Text
from workbench.host.client import Client, caught_up, told
from workbench.host.messages import Logged, Missed, Numbered, Queued, Welcome
from workbench.interrupts import interruptible
from workbench.lines import Lines, console
from workbench.repl import start
from workbench.writing import inline

#: Messages looked back at. A text counts one a token, and is not shown again: its result has it whole.
LAST = 1000


def resume(client: Client) -> int:
    """Show what was missed and go on typing. Returns the exit code, as the REPL's.

    Raises:
        HostError: the host cannot be reached.
    """
    if sys.stdin.isatty() and sys.stdout.isatty():
        replay(client, Lines(console(), console(stderr=True)))
    return start(client)


def replay(client: Client, lines: Lines) -> None:
    """Show the last commands with their results, and the running one as it goes on.

    Raises:
        HostError: the host cannot be reached.
    """
    running, author = "", client.author
    with interruptible(client.cancel):
        for message in caught_up(client, LAST):
            if isinstance(message, Welcome) and message.busy is not None:
                running = message.busy.ticket
            if isinstance(message, Logged) and message.author != author:
                author = message.author
                lines.remark(f"at {inline(author)}:")
            _show(message, running, lines)
    lines.close()


def _show(message: Welcome | Missed | Logged, running: str, lines: Lines) -> None:
    match message:
        case Missed(count=count):
            lines.remark(f"{count:,} messages before this are no longer kept")
        case Queued(line=line, before=before) if message.ticket != running:
            lines.remark(f"{inline(line)}: waited for {before}")
        case Numbered():
            event = told(message)
            if message.ticket == running or not isinstance(event, Text | Progress):
                lines.show(event)
