"""Decoding: a compiled step on the CPU against transformers' own `generate`, and what a token costs an accelerator.

    python -m benchmarks.decoding [--tiny] [--json]

Waits and kernels are counted on the pretended accelerator (`tests.accelerator`). The compiled step is timed on smollm2,
with `--tiny` on a random model, after it was compiled.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.generate import by_transformers
from benchmarks.measuring import THREADS, Figure, Table, in_turns, report, surroundings
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.compiling import compile_decoding
from sessions.model.generation import Decoding, generate
from sessions.model.opening import OpenModel, adopt, open_model
from sessions.model.units import Unit
from sessions.store import Store
from tests.accelerator.decoding import WAYS, counted
from tests.families import tiny, tiny_tokenizer

TOKENS, PROMPT = 64, tuple(range(5, 45))


def main() -> None:
    torch.set_num_threads(THREADS)
    figures, tables = measured("--tiny" in sys.argv)
    report("decoding", figures, surroundings("float32", "cpu"), tables, ("--tiny",))


def measured(small: bool = False, repeats: int = 5) -> tuple[list[Figure], list[Table]]:
    """The figures, and the costs of a token by the way that it is chosen."""
    if small:
        opened = adopt(tiny("llama"), tiny_tokenizer(), name="tiny")
    else:
        opened = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    figures = [*compiled(opened, repeats)]
    with tempfile.TemporaryDirectory() as folder:
        more, table = costs(Path(folder))
    return [*figures, *more], [table]


def compiled(opened: OpenModel, repeats: int) -> list[Figure]:
    """Speed of the compiled step against transformers' `generate`, as it is and with neurons ablated."""
    neurons = tuple(Unit(layer, index) for layer in range(opened.anatomy.n_layers) for index in range(4))
    runs: dict[str, Callable[[], object]] = {
        "transformers": by_transformers(opened, PROMPT, TOKENS),
        "plain": partial(ours, opened, ()),
    }
    seconds = in_turns(repeats, **runs)
    begun = perf_counter()
    reason = compile_decoding(opened.model)
    assert not reason, reason
    ours(opened, ())
    compiling = perf_counter() - begun
    ours(opened, neurons)
    runs = {"transformers": runs["transformers"], "compiled": partial(ours, opened, ())}
    runs["compiled, ablated"] = partial(ours, opened, neurons)
    seconds = {"plain": seconds["plain"] / seconds["transformers"], **in_turns(repeats, **runs)}
    figures = [
        Figure(f"transformers / {name}, {TOKENS} tokens", seconds["transformers"] / seconds[name], 1.0, {}, True)
        for name in ("compiled", "compiled, ablated")
    ]
    times = {"transformers": seconds["transformers"], "compiled": seconds["compiled"], "to compile": compiling}
    plain = Figure(f"plain / transformers, {TOKENS} tokens", seconds["plain"], 1.05, times)
    return [*figures, plain]


def ours(opened: OpenModel, neurons: tuple[Unit, ...]) -> None:
    with intervening(opened.anatomy, [Intervention(neurons, 0.0)]):
        finished(generate(opened.model, opened.tokenizer, [PROMPT], Decoding(max_tokens=TOKENS)))


def costs(folder: Path) -> tuple[list[Figure], Table]:
    """Waits and kernels of a token in every way that it is chosen, on the pretended accelerator."""
    rows: list[tuple[str | float, ...]] = []
    with counted(folder) as device:
        for way, (here, there) in WAYS.items():
            one, other = device.ours(**here), device.theirs(**there)
            rows.append((way, one.waits, one.kernels, other.kernels, one.kernels / other.kernels))
    worst = [max(float(row[column]) for row in rows) for column in (1, 4)]
    figures = [
        Figure("waits of the host a token, at most", worst[0], 1, {}),
        Figure("kernels a token / transformers' own, at most", worst[1], 1.2, {}),
    ]
    header = ("a token that is", "waits", "kernels", "of transformers", "ratio")
    return figures, Table("Costs of a token", header, tuple(rows))


if __name__ == "__main__":
    main()
