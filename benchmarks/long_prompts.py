"""`discover` on long prompts against one raw forward and backward pass, with eager and with torch's fused attention.

    python -m benchmarks.long_prompts [--short] [--json]

On smollm2 in float32: the time of an attribution (no exact effects) over that of one raw pass, and the growth of the
process's resident memory at its peak over that of the fused pass. Eager attention keeps a pattern of every head and
layer, 17 GB for 4,000 tokens, so it is measured up to 2,048. `--short` leaves out all prompts above 512 tokens.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from time import sleep

import torch
from torch import Tensor

from benchmarks.measuring import THREADS, Figure, Table, in_turns, report, surroundings
from sessions import memory
from sessions.circuits.discovery import DiscoveryQuestion, discover
from sessions.circuits.pruning import CircuitSize
from sessions.events import finished
from sessions.model.info import Encoded, Prompt
from sessions.model.opening import OpenModel, open_model
from sessions.store import Store
from tests.memory import resident

LENGTHS = (42, 512, 2048, 4000)
#: The longest prompt of the eager pass, whose patterns have to fit into memory.
EAGER = 2048
#: Most of a raw pass's time with eager and with fused attention, and most of its memory.
OF_EAGER, OF_FUSED, OF_MEMORY = 0.8, 1.1, 1.5
#: Seconds between two looks at the memory.
LOOK = 0.005


def measured(lengths: Sequence[int] = LENGTHS) -> tuple[list[Figure], list[Table]]:
    """Times and peaks of an attribution, as shares of those of raw passes, for prompts of these lengths."""
    opened = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    figures, rows = [], list[tuple[str | float, ...]]()
    for length in lengths:
        encoded = _prompt(opened, length)
        runs: dict[str, Callable[[], object]] = {
            "discover": lambda encoded=encoded: _discovered(opened, encoded),  # type: ignore[misc]
            "fused": lambda encoded=encoded: _raw(opened, encoded.ids, "sdpa"),  # type: ignore[misc]
        }
        if length <= EAGER:
            runs["eager"] = lambda encoded=encoded: _raw(opened, encoded.ids, "eager")  # type: ignore[misc]
        seconds = in_turns(5 if length < 2000 else 1, **runs)
        for name, limit in (("eager", OF_EAGER), ("fused", OF_FUSED)):
            if name in seconds:
                share = seconds["discover"] / seconds[name]
                figures.append(Figure(f"discover / raw pass, {name}, {length:,} tokens", share, limit, seconds))
        peaks = {name: _peak(run) for name, run in runs.items()}
        if length > 100:  # below, a peak is that of the allocator's own
            share = peaks["discover"] / peaks["fused"]
            figures.append(Figure(f"peak / fused pass's, {length:,} tokens", share, OF_MEMORY, {}))
        rows.append((f"{length:,}", *(peaks.get(name, 0) / 2**20 for name in ("discover", "fused", "eager"))))
    return figures, [Table("Peak, MiB more than before", ("tokens", "discover", "fused", "eager"), tuple(rows))]


def _prompt(opened: OpenModel, length: int) -> Encoded:
    text = "The committee read the letters of the old town and answered them one by one. " * (length // 10 + 1)
    ids = tuple(opened.tokenizer(text)["input_ids"][:length])
    return Encoded(prompt=Prompt(text=text), text=text, ids=ids, tokens=("",) * len(ids), bos=1, templated=False)


def _discovered(opened: OpenModel, encoded: Encoded) -> object:
    return discover(opened, encoded, DiscoveryQuestion(), choice=CircuitSize(count=200))


def _raw(opened: OpenModel, ids: Sequence[int], attention: str) -> object:
    """One forward pass and one backward pass, down to the embeddings."""
    model = opened.model
    earlier = model.config._attn_implementation
    model.set_attn_implementation(attention)
    try:
        with torch.enable_grad():
            states: Tensor = model.get_input_embeddings()(torch.tensor([list(ids)])).detach().requires_grad_()
            logits = model(inputs_embeds=states, use_cache=False, logits_to_keep=1).logits[0, -1]
            return torch.autograd.grad(logits.max(), states)
    finally:
        model.set_attn_implementation(earlier)


def _peak(run: Callable[[], object]) -> int:
    """Bytes by which the resident memory grows during a run, at its peak."""
    memory.give_back()
    before, ended, most = resident(), threading.Event(), [0]

    def look() -> None:
        while not ended.is_set():
            most[0] = max(most[0], resident())
            sleep(LOOK)

    watching = threading.Thread(target=look)
    watching.start()
    try:
        run()
    finally:
        ended.set()
        watching.join()
    return max(most[0] - before, 1)


def main() -> None:
    torch.set_num_threads(THREADS)
    lengths = [length for length in LENGTHS if length <= 512 or "--short" not in sys.argv]
    figures, tables = measured(lengths)
    report("long prompts", figures, surroundings("float32", "cpu"), tables, ("--short",))


if __name__ == "__main__":
    main()
