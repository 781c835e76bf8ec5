"""The line REPL on a host's session: first its last commands with their results, then the prompt.

If a line is running, its events are shown until it ends, whoever typed it. ctrl-c stops it.
"""

from __future__ import annotations

import sys

from sessions.events import Partial, Progress, Text
from workbench.host.client import Client, caught_up, told
from workbench.host.messages import Logged, Missed, Numbered, Queued, Welcome
from workbench.interrupts import interruptible
from workbench.lines import Lines, console
from workbench.repl import start
from workbench.writing import inline

#: Messages replayed at most. Streamed text counts one per token, though the replay leaves it out.
LAST = 1000


def resume(client: Client) -> int:
    """Show the last commands, then start the REPL. Returns its exit code.

    Raises:
        HostError: the host cannot be reached.
    """
    if sys.stdin.isatty() and sys.stdout.isatty():
        replay(client, Lines(console(), console(stderr=True)))
    return start(client)


def replay(client: Client, lines: Lines) -> None:
    """Show the last commands with their results, and follow the running one to its end.

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
            if message.ticket == running or not isinstance(event, Text | Progress | Partial):
                lines.show(event)
