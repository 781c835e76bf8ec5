"""A sweep of 200 points on smollm2, killed ten times and continued, against an uninterrupted one.

Each time the job is a new process, ended by SIGKILL at a random moment: in the middle of a token, of a write, or
between two batches. The final files are compared byte for byte.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.measuring import THREADS, Figure
from sessions.comparisons import sweep_files, sweeping
from sessions.comparisons.sweep_plan import Chosen, SweepPlan, question
from sessions.events import finished
from sessions.model.generation import Decoding, ending_ids
from sessions.model.opening import OpenModel, open_model
from sessions.model.tokens import encode
from sessions.model.units import Unit
from sessions.store import Store
from sessions.texts.prompt_files import PromptRecord
from tests.reference import AUSTIN

KILLS = 10
NAME = "killed"
MULTIPLIERS = (-1.0, 0.0, 0.25, 0.5, 0.75, 1.25, 1.5, 2.0)
SIZES = (5, 20, 60)
STATES = ("Texas", "Ohio", "Iowa", "Utah", "Maine", "Idaho", "Alaska", "Kansas")
TOKENS, BATCH = 6, 10
#: Each prompt once without intervention, and with every selection at every multiplier.
CELLS = len(STATES) * (1 + len(SIZES) * len(MULTIPLIERS))


def plan_of(opened: OpenModel) -> SweepPlan:
    """The sweep over the first neurons of the reference circuit, as many as `SIZES` says."""
    asked = [
        PromptRecord(prompt=f"What is the capital of {state}?", seed=f"The capital of {state} is") for state in STATES
    ]
    encoded = [encode(opened.tokenizer, each.to_read()) for each in asked]
    neurons = tuple(dict.fromkeys(str(Unit(row[0], row[2])) for row in AUSTIN.top))
    return SweepPlan(
        dtype="float32",
        selections=tuple(Chosen(f"top{size}", neurons[:size]) for size in SIZES),
        multipliers=MULTIPLIERS,
        prompts=tuple(question(each, None) for each in encoded),
        decoding=Decoding(max_tokens=TOKENS, ends=ending_ids(opened.model, opened.tokenizer)),
        batch=BATCH,
    )


def sweep(home: Path, opened: OpenModel | None = None) -> None:
    """Start or continue the sweep in a home folder."""
    import torch

    torch.set_num_threads(THREADS)
    opened = opened or finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    plan = plan_of(opened)
    with sweep_files.taken(home, NAME, new=True) as folder:
        if folder.begun() is None:
            folder.begin(plan, model=opened.info.name, fingerprint=opened.info.fingerprint, command="sweep")
        finished(sweeping.run(opened, plan, folder.kept(plan).cells, folder.append))


def killed(seed: int = 0) -> list[Figure]:
    """Whether the file of a job that was killed `KILLS` times differs from that of an uninterrupted one."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, dying = Path(folder) / "whole", Path(folder) / "dying"
        began = perf_counter()
        _process(whole).wait()
        seconds = perf_counter() - began
        expected = _cells(whole)
        assert expected.count(b"\n") == CELLS
        places = sorted(rng.sample(range(len(expected) * 9 // 10), KILLS))
        deaths = sum(_killed_at(dying, place, rng.uniform(0, 0.3)) for place in places)
        _process(dying).wait()
        differ = _cells(dying) != expected
    return [
        Figure(
            f"a sweep of {CELLS} cells, killed and resumed: files that differ", float(differ), 0, {"in one go": seconds}
        ),
        Figure("times that it was killed at work", deaths, KILLS, {}, at_least=True),
    ]


def _process(home: Path) -> subprocess.Popen[bytes]:
    """A process that starts or continues the sweep in this home folder."""
    return subprocess.Popen([sys.executable, "-m", "benchmarks.sweeping", str(home)])


def _killed_at(home: Path, size: int, wait: float) -> bool:
    """Kill the sweep some seconds after it has written so many bytes. Returns whether it still ran."""
    with _process(home) as process:
        while process.poll() is None and len(_cells(home)) <= size:
            sleep(0.005)
        sleep(wait)
        alive = process.poll() is None
        process.kill()
    return alive


def _cells(home: Path) -> bytes:
    path = home / sweep_files.FOLDER / NAME / sweep_files.CELLS
    return path.read_bytes() if path.exists() else b""


if __name__ == "__main__":
    sweep(Path(sys.argv[1]))
