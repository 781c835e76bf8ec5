"""Everything about devices, long prompts and many machines in one table.

    python -m benchmarks.scale [--json] [--quick]

    placements     lines of every verb wherever the model lies, on simulated devices: all must equal the CPU's
    memory         formulas of peak memory against the bytes that simulated devices count
    decoding       compiled decoding beside transformers' generate, and its kernels and waits a token
    long prompts   an attribution and a raw forward and backward pass, their times and peaks
    atlas          documents a second beside the bare forward pass
    cluster        one worker and two on a Ray cluster

Each part is a benchmark of its own, which says more. With --quick, placements are those of a tiny model and prompts
have at most 512 tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import atlas, cluster, decoding, long_prompts, memory, placements
from benchmarks.measuring import THREADS, Figure, Table, report, surroundings
from sessions.events import finished
from sessions.model.opening import open_model
from sessions.store import Store

Part = tuple[list[Figure], list[Table]]


def main() -> None:
    torch.set_num_threads(THREADS)
    figures, tables = list[Figure](), list[Table]()
    for measure in parts("--quick" in sys.argv):
        more, shown = measure()
        figures += more
        tables += shown
    report("scale", figures, surroundings("float32", "cpu and simulated"), tables, ("--quick",))


def parts(quick: bool) -> Iterator[Callable[[], Part]]:
    """What is measured, one after the other."""
    lengths = [length for length in long_prompts.LENGTHS if length <= 512 or not quick]
    yield lambda: _in_folder(lambda root: placements.measured(root, quick))
    yield memory.measured
    yield decoding.measured
    yield lambda: long_prompts.measured(lengths)
    yield _atlas
    yield lambda: _in_folder(cluster.measured)


def _atlas() -> Part:
    return atlas.measured(finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu")))


def _in_folder(measure: Callable[[Path], Part]) -> Part:
    with TemporaryDirectory() as root:
        return measure(Path(root))


if __name__ == "__main__":
    main()
