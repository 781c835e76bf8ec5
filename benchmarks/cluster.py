"""Two workers of one core each against one: how much sooner a Ray cluster is done, and whether it finds the same.

    python -m benchmarks.cluster [--json]

`atlas build` over the built-in corpus and `evaluate` of questions, on smollm2 in float32. Workers have the model open
before the clock runs. A process of this session hands the pieces out meanwhile, so the machine needs three idle cores
for the whole truth, and two for nearly all of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import msgspec
import torch

from benchmarks.measuring import Figure, Table, report, surroundings
from commands import run
from sessions.events import Failed, Result
from sessions.files.disk import read_file
from sessions.session import Session
from sessions.store import Store

#: How many times as fast two workers are to be as one.
FASTER = 1.7
ATLAS = "atlas build {name} --docs 512 --length 32 --batch 512 --force --on ray"
EVALUATE = "evaluate tasks.jsonl --max-tokens 16 --batch 8 --unrelated none --keep {name}.jsonl --force --on ray"
WARM = "evaluate tasks.jsonl --limit 4 --max-tokens 2 --batch 1 --unrelated none --on ray"
_NOUNS = ("France", "Japan", "Texas", "Peru", "Kenya", "Norway", "India", "Chile")
_ASKED = ("What is the capital of {}?", "Name a river in {}.", "Which language is spoken in {}?", "Where is {}?")


def main() -> None:
    with TemporaryDirectory() as root:
        figures, tables = measured(Path(root))
    report("cluster", figures, surroundings("float32", "cpu"), tables)


def measured(root: Path) -> tuple[list[Figure], list[Table]]:
    """The figures, measured in a folder: one worker's seconds over two workers', and whether the results are equal."""
    (root / "home").mkdir()
    (root / "home" / "models").symlink_to(Store().models.resolve())
    tasks = [{"prompt": asked.format(noun), "answer": "a", "check": "contains"} for asked in _ASKED for noun in _NOUNS]
    (root / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    one, two = (_with(root, workers) for workers in (1, 2))
    rows = [(verb, one[verb][0], two[verb][0], one[verb][0] / two[verb][0]) for verb in one]
    figures = [
        Figure(f"{verb}: one worker's time / two workers'", ratio, FASTER, {"one": alone, "two": both}, at_least=True)
        for verb, alone, both, ratio in rows
    ]
    different = sum(one[verb][1] != two[verb][1] for verb in one)
    figures.append(Figure("verbs whose results differ", different, 0, {}))
    return figures, [Table("seconds", ("verb", "one worker", "two workers", "ratio"), tuple(rows))]


def _with(root: Path, workers: int) -> dict[str, tuple[float, Any]]:
    """Seconds and result of each verb on so many workers."""
    found = {}
    with _cluster(root, workers):
        session = Session(root / "home")
        _line(session, "model smollm2 --dtype float32 --device cpu")
        _line(session, WARM)
        for verb, line in (("atlas build", ATLAS), ("evaluate", EVALUATE)):
            start = perf_counter()
            _line(session, line.format(name=f"of{workers}"))
            seconds = perf_counter() - start
            if verb == "evaluate":
                kept: Any = (root / f"of{workers}.jsonl").read_bytes()
            else:
                file = read_file(session.home / "atlases" / f"of{workers}.safetensors")
                kept = file[8 + int.from_bytes(file[:8], "little") :]
            found[verb] = seconds, kept
        session.close()
    return found


@contextmanager
def _cluster(root: Path, cpus: int) -> Iterator[None]:
    """Inside the block Ray runs on this machine with so many CPUs, and the folder is the working directory."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    import ray

    torch.set_num_threads(1)
    before = os.getcwd()
    os.chdir(root)
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()
        os.chdir(before)


def _line(session: Session, line: str) -> Any:
    *_, last = [event for event in run(session, line) if isinstance(event, Result | Failed)]
    if isinstance(last, Failed):
        raise SystemExit(f"{line}: {last.message}")
    return msgspec.to_builtins(last.value)


if __name__ == "__main__":
    main()
