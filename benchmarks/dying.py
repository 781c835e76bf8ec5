"""Clients killed in the middle of a command: nothing is lost.

An app types a line and is killed by a signal at a random moment while the line runs. Afterwards the line must finish,
the journal must have it once, with its result, and the next app must show it with its result.
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
#: A line that takes a while; the number makes each one unique.
LINES = (
    'discover " Austin" --top {number}',
    "generate --max-tokens 40 # {number}",
    "sweep top20 --max-tokens 12 # {number}",
)


def dying(client: Client, tries: int = 60) -> list[Figure]:
    """How many tries lost something. A line that ended before its app is not counted."""
    for line in ("prompt What is the capital of Texas?", "seed The capital of Texas is", 'discover " Austin"'):
        _run(client, line)
    seconds = [_run(client, line.format(number=29)) for line in LINES]
    lost: list[str] = []
    done = 0
    for number in range(4 * tries):
        verb = done % len(LINES)
        line, ending = LINES[verb].format(number=30 + number), SIGNALS[done // len(LINES) % len(SIGNALS)]
        try:
            done += _die(client, line, ending, random.uniform(0, seconds[verb]))
            _check(client, line)
        except AssertionError as error:
            lost.append(f"{ending.name} during {line}: {str(error)[:2000]}")
            print(lost[-1], file=sys.stderr)
        if done == tries:
            break
    else:
        lost.append(f"only {done} lines could be caught while they ran")
    return [Figure(f"lines lost in {tries} deaths of the app", len(lost), 0, {})]


def _run(client: Client, line: str) -> float:
    """Run a line. Returns its seconds."""
    start = time.monotonic()
    assert any(isinstance(event, Result) for event in client.run(line)), line
    return time.monotonic() - start


def _die(client: Client, line: str, ending: signal.Signals, after: float) -> bool:
    """Type the line into an app and kill the app some seconds after the line began. Returns whether it still ran."""
    with Terminal(workbench("--home", client.home)) as terminal:
        terminal.until("History")
        terminal.still()
        terminal.enter(line)
        terminal.until(lambda: _runs(client, line) or _ended(client, line))
        time.sleep(after)
        running = _runs(client, line)
        terminal.kill(ending)
        terminal.exit_code()
        return running


def _runs(client: Client, line: str) -> bool:
    busy = client.welcome().busy
    return busy is not None and busy.line == line


def _ended(client: Client, line: str) -> bool:
    records, _ = journal.read(client.place.folder / "journal.jsonl")
    return bool(records) and records[-1].line == line


def _check(client: Client, line: str) -> None:
    """Whether the line has finished, the journal has it once, and a new app shows it."""
    end = time.monotonic() + 600
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
