"""The app in a real terminal, measured against its limits.

    python -m benchmarks.app [--json]

Everything runs in a temporary home: a host process with smollm2, and `workbench` in a pty of 120×40 (see `terminal`).
Times go from writing a key to reading the bytes that show it. The parts:

- first paint: from the start of the process to the first frame with the panes, with a running host and without one (the
  app then starts one);
- key → repaint, while the model generates at full speed: letters that no text has, at random moments;
- generation with the app attached over generation without it, alternating, in seconds of the journal. Unlike in other
  benchmarks there is no raw transformers call to compare with: host and app are two processes, and the figure is what
  the second costs the first. `benchmarks.generate` compares the host's own loop with the raw one;
- bytes per token and frames per second while text streams, bytes while nothing happens;
- switching to an earlier result: from the key that moves in the history to the bytes that show the result;
- a million rows (see `table`), and clients that are killed in the middle of a command (see `dying`).
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles

from benchmarks.dying import dying
from benchmarks.measuring import Figure, report, surroundings
from benchmarks.table import table
from benchmarks.terminal import FRAME, Terminal, workbench
from sessions import journal
from sessions.errors import WorkbenchError
from sessions.events import Result
from sessions.store import Store
from workbench.host.client import Client
from workbench.host.starting import find_or_start, kill

COLUMNS, ROWS = 120, 40
#: Letters that neither the model's text nor the screen contains.
LETTERS = "жзийлпуфхцчшщъыьэюяабвгдежѣѳѵґєїљњћџ"
STORY = "prompt --raw 'Once upon a time there was a small town by the sea, and in it'"
LONG = "generate --max-tokens {tokens} --sample --rng 3"


def main() -> None:
    with host() as client:
        figures = [
            *painting(client),
            *typing(client),
            *slowed(client),
            *streaming(client),
            *cancelling(client),
            *switching(client),
            *table(),
            *dying(client),
        ]
    report("app", figures, {**surroundings("float32", "cpu"), "terminal": f"{COLUMNS}×{ROWS}"})


@contextmanager
def host() -> Iterator[Client]:
    """A host in a temporary home with smollm2 and the beginning of a story as its prompt."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        home.mkdir()
        (home / "models").symlink_to(Store().models, target_is_directory=True)
        client = find_or_start("default", home)
        try:
            done(client, "model smollm2 --dtype float32 --device cpu")
            done(client, STORY)
            yield client
        finally:
            with suppress(WorkbenchError):
                kill("default", home)


def done(client: Client, line: str) -> None:
    """Run a line that must succeed."""
    events = list(client.run(line))
    assert any(isinstance(event, Result) for event in events), events


@contextmanager
def app(client: Client, columns: int = COLUMNS, rows: int = ROWS) -> Iterator[Terminal]:
    """The app on that host, once it is drawn and idle."""
    with Terminal(workbench("--home", client.home), columns, rows) as terminal:
        terminal.until("History")
        terminal.still()
        yield terminal


def took(client: Client, line: str) -> float:
    """Run a line with no client attached. Returns its seconds from the journal."""
    client.send(line)
    idle(client)
    records, _ = journal.read(client.place.folder / "journal.jsonl")
    assert (records[-1].line, records[-1].outcome) == (line, "result"), records[-1]
    return records[-1].seconds


def idle(client: Client) -> None:
    """Wait until nothing runs, polling rarely."""
    time.sleep(0.2)
    while client.welcome().busy is not None:
        time.sleep(0.2)


def figure(name: str, values: list[float], value: float, limit: float) -> Figure:
    """A figure in seconds, with minimum, median and maximum of its samples."""
    return Figure(name, value, limit, {"least": min(values), "median": median(values), "most": max(values)})


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20, method="inclusive")[-1]


# The parts


def painting(client: Client, repeats: int = 9) -> list[Figure]:
    """Seconds from the start of the process to the first frame with the panes."""
    with_host = [first_paint(client.home) for _ in range(repeats)]
    without = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats):
            home = Path(folder, str(number))
            without.append(first_paint(home))
            find_or_start("default", home)  # the one that the app was about to start
            kill("default", home)
    return [
        figure("first paint, host up, s", with_host, median(with_host), 0.7),
        figure("first paint, no host, s", without, median(without), 0.7),
    ]


def first_paint(home: Path) -> float:
    with Terminal(workbench("--home", home), COLUMNS, ROWS) as terminal:
        terminal.first_paint()
        return terminal.when(b"History", terminal.began) - terminal.began


def typing(client: Client, keys: int = 90) -> list[Figure]:
    """Seconds from a key to the bytes that show it, while text streams."""
    taken: list[float] = []
    with app(client) as terminal:
        client.send(LONG.format(tokens=4000))
        terminal.until("generate")
        time.sleep(1)
        for number in range(keys):
            if number % len(LETTERS) == 0:
                terminal.press("ctrl+u")
                time.sleep(0.5)
            time.sleep(random.uniform(0.05, 0.35))
            letter = LETTERS[number % len(LETTERS)]
            at = terminal.type(letter)
            taken.append(terminal.when(letter.encode(), at) - at)
        assert client.welcome().busy is not None, "the text ended before the typing did"
        client.cancel()
        idle(client)
    return [figure("key → repaint while generating, p95, s", taken, p95(taken), 0.06)]


def slowed(client: Client, repeats: int = 7, tokens: int = 100) -> list[Figure]:
    """Generation with the app attached, over generation without."""
    line = LONG.format(tokens=tokens)
    took(client, line)
    alone, attached = [], []
    for _ in range(repeats):
        alone.append(took(client, line))
        with app(client):
            attached.append(took(client, line))
    seconds = {"alone": median(alone), "attached": median(attached)}
    return [Figure("generation, app attached / alone", seconds["attached"] / seconds["alone"], 1.05, seconds)]


def streaming(client: Client, tokens: int = 300) -> list[Figure]:
    """Bytes per token and frames per second of streamed text; then bytes while idle."""
    with app(client) as terminal:
        start = time.monotonic()
        seconds = took(client, LONG.format(tokens=tokens))
        terminal.still(1.0)
        written = terminal.written(start)
        quiet = time.monotonic()
        time.sleep(10)
        idle_bytes = len(terminal.raw(quiet))
    size = sum(len(chunk.data) for chunk in written)
    frames = [chunk.at for chunk in written for _ in range(chunk.data.count(FRAME))]
    busiest = max(sum(at <= other < at + 1 for other in frames) for at in frames)
    return [
        Figure("streamed text, kB a token", size / tokens / 1000, 1.5, {"generation": seconds}),
        Figure("frames in the busiest second", busiest, 15, {}),
        Figure("idle, bytes a second", idle_bytes / 10, 0, {}),
    ]


def cancelling(client: Client, repeats: int = 5) -> list[Figure]:
    """Seconds from escape to the message that the line is cancelled."""
    taken = []
    with app(client) as terminal:
        for number in range(repeats):
            terminal.enter(f"generate --max-tokens {4000 + number}")
            terminal.until(lambda: client.welcome().busy is not None)
            time.sleep(random.uniform(0.1, 1.5))
            at = terminal.press("escape")
            taken.append(terminal.when(b"cancelled", at) - at)
            idle(client)
            terminal.still()
    return [figure("escape → cancelled, s", taken, max(taken), 1)]


#: Lines with results of all sizes, and what each result alone shows.
RESULTS = {
    "help sweep": b"multiplier",
    "discover --top 2000": b"conservation",
    "neurons top200 --rows 200": b"pushes",
    "top 50": b"logit",
    "help": b"Prompt",
}


def switching(client: Client, rounds: int = 8) -> list[Figure]:
    """Seconds from a key in the history to the bytes of the result that it leads to."""
    for line in RESULTS:
        done(client, line)
    taken = []
    with app(client, 160, 48) as terminal:
        terminal.press("f2")
        terminal.still()
        backwards = list(RESULTS.values())[-2::-1]
        for _ in range(rounds):
            terminal.press("end")
            terminal.still()
            for shown in backwards:
                at = terminal.press("up")
                taken.append(terminal.when(shown, at) - at)
                terminal.still()
    return [figure("switching to an earlier result, p95, s", taken, p95(taken), 0.05)]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the host ends, whoever ends this
    main()
