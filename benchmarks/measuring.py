"""What every benchmark shares: timing in turns, a table of figures beside their limits, the exit code.

Machines are noisy, so nothing here is an absolute claim: the thing measured and the raw call it is
compared with run in turns in one process, and the ratio of their medians is the figure.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter

#: Threads of a model. Where others use the machine as well, two wait for each other, and times say nothing.
THREADS = 1


@dataclass(frozen=True)
class Figure:
    """One number and the limit it must not exceed, or with `at_least` not fall below.

    `seconds` are medians, for orientation only.
    """

    name: str
    value: float
    limit: float
    seconds: dict[str, float]
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def in_turns(repeats: int, **runs: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each run, all of them once per round after one warm-up round."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(repeats + 1):
        for name, run in runs.items():
            start = perf_counter()
            run()
            if round_number:
                taken[name].append(perf_counter() - start)
    return {name: median(times) for name, times in taken.items()}


@dataclass(frozen=True)
class Table:
    """Numbers to be looked at, without limits: a row begins with words, as many as it takes, and ends with numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]

    def __str__(self) -> str:
        cells = [self.header, *([_cell(each) for each in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        padded = ((_padded(*pair) for pair in zip(row, widths, strict=True)) for row in cells)
        lines = ("  ".join(row).rstrip() for row in padded)
        return "\n".join(["", self.title, *lines])


def _cell(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}"


def _padded(text: str, width: int) -> str:
    return text.rjust(width) if text.lstrip("-").replace(".", "").isdigit() else text.ljust(width)


def report(
    title: str,
    figures: list[Figure],
    about: dict[str, str],
    tables: Sequence[Table] = (),
    switches: Sequence[str] = (),
) -> None:
    """Print the figures and tables (or, with --json, the data) and exit with 1 if a figure misses its limit.

    `switches` are those that the benchmark reads by itself.
    """
    parser = argparse.ArgumentParser(description=title)
    for switch in ("--json", *switches):
        parser.add_argument(switch, action="store_true")
    if parser.parse_args().json:
        rows = [{**asdict(figure), "met": figure.met} for figure in figures]
        data = {"title": title, "about": about, "figures": rows, "tables": [asdict(table) for table in tables]}
        print(json.dumps(data, indent=1))
    else:
        print(title)
        print("  ".join(f"{name} {value}" for name, value in about.items()))
        width = max(len(figure.name) for figure in figures)
        for figure in figures:
            times = "  ".join(f"{name} {value * 1000:.0f} ms" for name, value in figure.seconds.items())
            mark = "ok  " if figure.met else "MISS"
            bound = "at least" if figure.at_least else "at most "
            line = f"{figure.name:<{width}}  {figure.value:>9.3g}  {bound} {figure.limit:<7.3g} {mark}  {times}"
            print(line.rstrip())
        for table in tables:
            print(table)
    sys.exit(0 if all(figure.met for figure in figures) else 1)


def surroundings(dtype: str, device: str) -> dict[str, str]:
    """What a reader needs to place the figures."""
    import torch
    import transformers

    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": str(torch.get_num_threads()),
        "dtype": dtype,
        "device": device,
    }
