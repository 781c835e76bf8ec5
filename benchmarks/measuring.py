"""What every benchmark shares: timing in turns, a table of figures beside their limits, the exit code.

Machines are noisy, so nothing here is an absolute claim: the thing measured and the raw call it is
compared with run in turns in one process, and the ratio of their medians is the figure.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter


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


def report(title: str, figures: list[Figure], about: dict[str, str]) -> None:
    """Print the table (or, with --json, the data) and exit with 1 if a figure misses its limit."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    if parser.parse_args().json:
        rows = [{**asdict(figure), "met": figure.met} for figure in figures]
        print(json.dumps({"title": title, "about": about, "figures": rows}, indent=1))
    else:
        print(title)
        print("  ".join(f"{name} {value}" for name, value in about.items()))
        width = max(len(figure.name) for figure in figures)
        for figure in figures:
            times = "  ".join(f"{name} {value * 1000:.0f} ms" for name, value in figure.seconds.items())
            mark = "ok  " if figure.met else "MISS"
            bound = "at least" if figure.at_least else "at most "
            print(f"{figure.name:<{width}}  {figure.value:>9.3g}  {bound} {figure.limit:<7.3g} {mark}  {times}")
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
