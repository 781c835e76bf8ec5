"""All figures about circuits, and the tables behind the defaults.

    python -m benchmarks.circuits [--json] [--quick]

Exact effects (`verifying`), edges, many prompts, and the methods of attribution on both embedded models (`methods`,
which takes most of the time; `--quick` has smollm2 on one task alone).
"""

from __future__ import annotations

import sys

import torch

from benchmarks import edges, methods, prompts, verifying
from benchmarks.measuring import THREADS, report, surroundings
from sessions.events import finished
from sessions.model.opening import open_model
from sessions.store import Store


def main() -> None:
    torch.set_num_threads(THREADS)
    smollm2 = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    figures = [figure for part in (verifying, edges, prompts) for figure in part.figures(smollm2)]
    found, tables = methods.measured("--quick" in sys.argv)
    report("circuits", [*figures, *found], surroundings("float32", "cpu"), tables, ["--quick"])


if __name__ == "__main__":
    main()
