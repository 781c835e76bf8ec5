"""Clients that are killed in the middle of a command: none of it is lost.

An app types a line, is ended by a signal at a random moment while the line runs, and three things have to be true
afterwards: the line finishes, the journal holds it once, with its result, and the next app shows it and its end.
"""

from __future__ import annotations

import random
import signal
import sys
import time

from benchmarks.measuring import Figure
from benchmarks.terminal import Terminal, workbench
from sessions import journal
from sessions.events import Result
from workbench.host.client import Client

SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL)
#: Lines that take a while; the number makes each of them one of its kind.
LINES = (
    'discover " Austin" --top {number}',
    "generate --max-tokens {number}",
    "sweep top20 --max-tokens {number}",
)
#: Seconds from a line's start to the signal, at most.
LATEST = 1.5


def dying(client: Client, tries: int = 60) -> list[Figure]:
    """How many of the tries lost something."""
    for line in ("prompt What is the capital of Texas?", "seed The capital of Texas is", 'discover " Austin"'):
        assert any(isinstance(event, Result) for event in client.run(line))
    lost: list[str] = []
    for number in range(tries):
        line = LINES[number % len(LINES)].format(number=30 + number)
        ending = SIGNALS[number // len(LINES) % len(SIGNALS)]
        try:
            _die(client, line, ending)
            _check(client, line)
        except AssertionError as error:
            lost.append(f"{ending.name} during {line}: {str(error)[:2000]}")
            print(lost[-1], file=sys.stderr)
    return [Figure(f"lines lost in {tries} deaths of the app", len(lost), 0, {})]


def _die(client: Client, line: str, ending: signal.Signals) -> None:
    """Type the line into an app and end it while the line runs."""
    with Terminal(workbench("--home", client.home)) as terminal:
        terminal.until("Transcript")
        terminal.enter(line)
        terminal.until(lambda: (busy := client.welcome().busy) is not None and busy.line == line)
        time.sleep(random.uniform(0, LATEST) * random.random())
        terminal.kill(ending)
        terminal.exit_code()


def _check(client: Client, line: str) -> None:
    """The line has finished, the journal holds it once, a new app shows it."""
    end = time.monotonic() + 120
    while client.welcome().busy is not None:
        assert time.monotonic() < end, "it does not finish"
        time.sleep(0.05)
    records, warnings = journal.read(client.place.folder / "journal.jsonl")
    found = [record for record in records if record.line == line]
    assert not warnings, warnings
    assert [record.outcome for record in found] == ["result"], f"the journal holds it {len(found)} times"
    with Terminal(workbench("--home", client.home)) as terminal:
        terminal.until(line)
        terminal.still()
        assert line in terminal.shown
