"""What all benchmarks share: alternating timing, a table of figures with their limits, the exit code.

Machines are noisy, so figures are ratios: the measured code and the raw call run alternately in one process, and the
figure is the ratio of their medians.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter

#: Threads of a model. On a shared machine two threads wait for each other, and times mean nothing.
THREADS = 1


@dataclass(frozen=True)
class Figure:
    """A number and its limit, an upper one or, with `at_least`, a lower one.

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
    """The median seconds of each function. Each round calls every function once; a first round is not counted."""
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
    """A table without limits. Each row begins with any number of words and ends with numbers."""

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

    `switches` are the options that the benchmark reads itself.
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
    """The machine and the versions with which the figures were measured."""
    import torch
    import transformers

    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": str(torch.get_num_threads()),
        "dtype": dtype,
        "device": device,
    }
