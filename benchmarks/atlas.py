"""Hidden states: speed and memory of the atlas, and the activation that injected states restore.

python -m benchmarks.atlas [--json]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

import torch

from benchmarks import injecting
from benchmarks.measuring import THREADS, Figure, Table, in_turns, report, surroundings
from sessions.atlas.building import AtlasPlan, Building, build, plan
from sessions.atlas.folding import Running, bytes_of, working_bytes
from sessions.events import finished
from sessions.model.opening import OpenModel, open_model
from sessions.model.rows import batches, padded_rows
from sessions.model.tokens import plain_ids
from sessions.store import Store
from sessions.texts.corpus import Corpus

#: Rounds of the comparison, after one that is not counted.
ROUNDS = 3
#: Documents of a round after the built-in corpus, of so many characters at least.
LATER, SHORTEST = 48, 160
#: A layer of statistics, and tokens in a batch, of which the memory is measured.
WIDTH, K, BATCH, BATCHES = 14336, 10, 2048, 6


def main() -> None:
    torch.set_num_threads(THREADS)
    opened = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    figures, tables = measured(opened)
    found = injecting.given_back(opened)
    report(
        "atlas",
        [*figures, *injecting.figures(opened, found)],
        surroundings("float32", "cpu"),
        [*tables, injecting.table(found)],
    )


def measured(opened: OpenModel) -> tuple[list[Figure], list[Table]]:
    """Figures of an atlas of all layers, over the built-in corpus and after it, and of its memory; no table."""
    return [speed(opened), later(opened), memory()], []


def speed(opened: OpenModel) -> Figure:
    """Documents per second with statistics of every neuron, against the bare forward pass without the head.

    Both read the same documents in the same batches and tokenise them.
    """
    corpus = Corpus()
    survey = finished(corpus.surveyed())
    planned = plan(opened, corpus, survey)

    def ours() -> None:
        finished(build(Building(opened, planned), corpus))

    seconds = in_turns(ROUNDS, bare=lambda: passed(opened, planned, corpus.documents()), atlas=ours)
    name = f"documents a second, atlas of {len(planned.layers)} layers / bare forward without the head"
    return Figure(name, seconds["bare"] / seconds["atlas"], 0.9, seconds, at_least=True)


def later(opened: OpenModel) -> Figure:
    """The same for documents after the built-in corpus, paragraphs of Python's manual, as in a long corpus.

    The first batches cost more, because most of their maxima are kept and every position counts for the quantiles. The
    built-in corpus is so short that this dominates.
    """
    corpus = Corpus()
    planned = plan(opened, corpus, finished(corpus.surveyed()))
    building = Building(opened, planned)
    list(building.fold(list(corpus.documents())))
    paragraphs = (text for page in topics.values() for text in page.split("\n\n") if len(text) > SHORTEST)
    chunks = [list(islice(paragraphs, LATER)) for _ in range(ROUNDS + 1)]
    asked, read = iter(chunks), iter(chunks)
    seconds = in_turns(
        ROUNDS,
        bare=lambda: passed(opened, planned, next(read)),
        atlas=lambda: list(building.fold(next(asked))),
    )
    name = f"the same of {LATER} documents after the first {planned.survey.documents}"
    return Figure(name, seconds["bare"] / seconds["atlas"], 0.95, seconds, at_least=True)


@torch.inference_mode()
def passed(opened: OpenModel, planned: AtlasPlan, texts: Iterable[str]) -> None:
    """Run texts through the model, without the head, in the batches that an atlas is built in."""
    rows = [plain_ids(opened.tokenizer, text)[: planned.length] for text in texts]
    for part in batches([len(ids) for ids in rows], planned.batch):
        with padded_rows(opened, [rows[row] for row in part]) as ids:
            opened.anatomy.decoder(input_ids=ids, use_cache=False)


def memory() -> Figure:
    """The growth of a process that folds batches of a wide layer, against the planned memory."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.atlas", "--folding"], check=True, capture_output=True, text=True
    )
    grown = int(done.stdout)
    promised = bytes_of(WIDTH, K) + working_bytes(WIDTH, K, BATCH)
    name = f"memory of {WIDTH:,} neurons' statistics / its bound of {promised >> 20:,} MiB"
    return Figure(name, grown / promised, 1.0, {})


def folding() -> int:
    """The most bytes that the process has grown by, without the batches themselves."""
    torch.set_num_threads(THREADS)
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(BATCH, WIDTH, generator=generator)
    small = Running.empty(64, K, True, batch.device)
    small.fold(batch[:, :64], torch.arange(BATCH), seen=0)  # what torch itself takes when it is first used
    before = _peak()
    running = Running.empty(WIDTH, K, True, batch.device)
    for number in range(BATCHES):
        batch.normal_(generator=generator)
        running.fold(batch, torch.arange(BATCH) + number * BATCH, seen=number * BATCH)
    return _peak() - before


def _peak() -> int:
    """The most bytes that this process has had. getrusage would start from its parent's memory."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _switches(words: Sequence[str]) -> None:
    if "--folding" in words:
        print(folding())
    else:
        main()


if __name__ == "__main__":
    _switches(sys.argv[1:])
