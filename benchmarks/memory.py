"""Peak memory on a device against the formulas of `sessions.model.memory_needed`, counted in bytes.

    python -m benchmarks.memory [--wide] [--json]

Each verb runs on a random Llama whose device is simulated (see `tests.accelerator`), so that every byte that it holds
is counted. Shapes differ in layers, widths, tokens and dtype; with `--wide` one has the widths of an 8B model. A second
table gives what the formulas say for an 8B model in bfloat16 and a prompt of 4,096 tokens, on a card of 80 GB.
"""

from __future__ import annotations

import gc
import string
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks.measuring import THREADS, Figure, Table, report, surroundings
from sessions.atlas import building
from sessions.atlas.folding import bytes_of, working_bytes
from sessions.circuits import edges, verification
from sessions.circuits.cases import Case
from sessions.circuits.discovery import Discovery, DiscoveryQuestion, discover
from sessions.circuits.faithfulness import faithfulness, ranked
from sessions.circuits.pruning import CircuitSize
from sessions.circuits.recording import means
from sessions.events import finished
from sessions.model import memory_needed
from sessions.model.info import Encoded, Prompt, Token
from sessions.model.memory_needed import Shape
from sessions.model.opening import OpenModel, adopt
from sessions.model.rows import LARGEST_BATCH
from sessions.model.shapes import shape_of
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.texts.corpus import Survey
from sessions.texts.prompt_files import PromptRecord
from sessions.training.findings import TrainingPlan
from sessions.training.learning import learn
from sessions.training.projections import modules_of
from sessions.training.samples import Lesson
from tests.accelerator import pretended
from tests.accelerator.meter import Meter
from tests.families import tiny_tokenizer

#: How far a formula may be from what is counted.
WITHIN = 0.1
EFFECTS, TARGETS, RANK, K, LENGTH = 200, 30, 8, 10, 128
#: Verbs whose formula says how much they take at most.
BOUNDS = ("atlas",)
#: Texts of which means are taken.
TEXTS = 8
#: Sizes of the circuits whose faithfulness is measured.
SIZES = (10, 50, 100, 150, 200)
GIB = 2**30


@dataclass(frozen=True)
class Sizes:
    """The sizes of a random model, and the tokens of the prompt."""

    layers: int
    tokens: int
    d_model: int
    d_mlp: int
    heads: int
    key_heads: int
    vocabulary: int
    dtype: torch.dtype

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.layers} × {self.d_model}/{self.d_mlp}, {self.tokens:,} tokens, {dtype}"


SMALL = Sizes(4, 256, 256, 896, 8, 2, 512, torch.bfloat16)
MEASURED = (
    SMALL,
    Sizes(3, 192, 192, 512, 4, 4, 512, torch.float32),
    Sizes(6, 320, 128, 512, 4, 2, 256, torch.bfloat16),
)
#: One with the widths of an 8B model, but for layers and vocabulary.
WIDE = Sizes(2, 256, 4096, 14336, 32, 8, 2048, torch.bfloat16)
#: Llama 3 with 8B parameters.
LARGE = Shape(
    weights=2 * 8_030_261_248,
    layers=32,
    d_model=4096,
    d_mlp=14336,
    neurons=32 * 14336,
    heads=32,
    d_query=4096,
    d_key=1024,
    vocabulary=128_256,
    itemsize=2,
)


@dataclass(frozen=True)
class Counted:
    """A verb, the bytes at its peak besides the weights, and those of its formula."""

    verb: str
    counted: int
    formula: int

    @property
    def apart(self) -> float:
        """How far the formula is from what was counted, a share of that; a bound is off only if exceeded."""
        off = (self.counted - self.formula) / self.counted
        return max(off, 0.0) if self.verb in BOUNDS else abs(off)


@dataclass(frozen=True)
class Ground:
    """A random model, its prompt, and the circuit found there."""

    opened: OpenModel
    encoded: Encoded
    shape: Shape

    @property
    def tokens(self) -> int:
        return len(self.encoded.ids)

    def at_once(self, rows: int) -> int:
        """Tokens of a batch, of so many rows as long as the prompt."""
        return max(1, min(rows, LARGEST_BATCH // self.tokens)) * self.tokens

    def discovered(self) -> Discovery:
        return discover(self.opened, self.encoded, DiscoveryQuestion(), choice=CircuitSize(count=EFFECTS))


#: A verb, prepared: what it runs, and the bytes of its formula.
Prepared = tuple[Callable[[], object], int]


def _discover(ground: Ground) -> Prepared:
    return ground.discovered, memory_needed.attributing(ground.shape, ground.tokens)


def _verify(ground: Ground) -> Prepared:
    """All units are at the last position, so that a batch has as many rows as it may."""
    opened, target = ground.opened, ground.discovered().circuit.target
    units = [Unit(0, number, ground.tokens - 1) for number in range(EFFECTS)]
    rows = min(EFFECTS, verification.LARGEST_BATCH, verification.CACHED * verification.LARGEST_BATCH // ground.tokens)
    formula = memory_needed.verifying(ground.shape, ground.tokens, rows=rows, read=1)
    return lambda: finished(verification.verify(opened, ground.encoded.ids, units, target)), formula


def _edges(ground: Ground) -> Prepared:
    circuit = ground.discovered().circuit
    rows = max(1, min(TARGETS + 1, edges.LARGEST_BATCH // ground.tokens))
    return (
        lambda: finished(edges.trace(ground.opened, circuit.ids, circuit.target, circuit.neurons, TARGETS)),
        memory_needed.tracing(ground.shape, ground.tokens, rows=rows),
    )


def _faithfulness(ground: Ground) -> Prepared:
    """At the means of each position of texts as long as the prompt."""
    circuit, opened = ground.discovered().circuit, ground.opened
    target = Target(tokens=(Token(1, "a"),), counterfactual=Token(2, "b"), value=1.0)
    case = Case(PromptRecord(prompt="x"), ground.encoded, target, rank=1)
    with tempfile.TemporaryDirectory() as home:
        averages = finished(means(opened, [ground.encoded.ids], Path(home), aligned=True))
    ranking = ranked(circuit.neurons, ground.tokens)
    at_once = ground.at_once(1 + len(SIZES))
    formula = memory_needed.keeping(ground.shape, at_once, places=ground.tokens - 1, ranked=len(ranking), rankings=1)
    return lambda: finished(faithfulness(opened, [case], ranking, SIZES, averages, batch=LARGEST_BATCH)), formula


def _means(ground: Ground) -> Prepared:
    def run() -> object:
        with tempfile.TemporaryDirectory() as home:
            return finished(
                means(ground.opened, [ground.encoded.ids] * TEXTS, Path(home), aligned=True, batch=LARGEST_BATCH)
            )

    return run, memory_needed.averaging(ground.shape, ground.at_once(TEXTS), longest=ground.tokens)


def _train(ground: Ground) -> Prepared:
    opened, half = ground.opened, ground.tokens // 2
    plan = TrainingPlan(modules=modules_of(opened.anatomy), rank=RANK, epochs=1)
    lesson = Lesson("x", ground.encoded.ids, half, (1.0,) * (ground.tokens - half))
    shape = ground.shape
    learned = memory_needed.adapter(shape, RANK)
    formula = memory_needed.training(shape, ground.tokens, learned=learned, reply=ground.tokens - half)
    return lambda: finished(learn(opened, [lesson] * 2, plan)), formula


def _atlas(ground: Ground) -> Prepared:
    """Two batches of documents; the formula is that of one, since statistics do not grow."""
    opened, shape, texts = ground.opened, ground.shape, [string.ascii_lowercase * 40] * 16
    plan = building.AtlasPlan(
        model="",
        dtype="",
        under="",
        corpus="letters",
        survey=Survey(documents=len(texts), sha256=""),
        layers=tuple(range(shape.layers)),
        length=LENGTH,
        k=K,
        batch=LARGEST_BATCH,
        bytes=0,
    )
    statistics = sum(bytes_of(width, K) for width in opened.anatomy.widths)
    working = working_bytes(shape.d_mlp, K, LARGEST_BATCH)
    formula = memory_needed.surveying(shape, LARGEST_BATCH, statistics=statistics, working=working)
    return lambda: list(building.Building(opened, plan).fold(texts)), formula


VERBS: dict[str, Callable[[Ground], Prepared]] = {
    "discover": _discover,
    "verify": _verify,
    "edges": _edges,
    "means": _means,
    "faithfulness": _faithfulness,
    "atlas": _atlas,
    "train-round": _train,
}


def counted(sizes: Sizes, verbs: tuple[str, ...] = tuple(VERBS)) -> Iterator[Counted]:
    """Each verb on a random model of these sizes, on a simulated device."""
    with pretended(1) as meter:
        ground = _ground(sizes)
        for name in verbs:
            run, formula = VERBS[name](ground)
            yield Counted(name, _peak(meter, run), formula)


def _peak(meter: Meter, run: Callable[[], object]) -> int:
    gc.collect()
    (before,) = set(meter.held.values())
    meter.clear()
    run()
    return max(meter.peak.values()) - before


def _ground(sizes: Sizes) -> Ground:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.d_model,
        intermediate_size=sizes.d_mlp,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.key_heads,
        max_position_embeddings=8192,
    )
    model: Any = AutoModelForCausalLM.from_config(config, dtype=sizes.dtype)
    opened = adopt(model.to("cuda:0"), tiny_tokenizer(), name="random", fingerprint="random")
    ids = tuple(1 + number % 60 for number in range(sizes.tokens))
    encoded = Encoded(prompt=Prompt(text="x"), text="x", ids=ids, tokens=("x",) * len(ids), bos=1, templated=False)
    return Ground(opened, encoded, shape_of(opened))


def measured(wide: bool = False) -> tuple[list[Figure], list[Table]]:
    """How far each formula is from what is counted, the most of all shapes; and tables of both, and of an 8B model."""
    found = {str(sizes): list(counted(sizes)) for sizes in (*MEASURED, *((WIDE,) if wide else ()))}
    figures = [
        Figure(
            f"{name}: formula off by",
            max(each.apart for of in found.values() for each in of if each.verb == name),
            WITHIN,
            {},
        )
        for name in VERBS
    ]
    rows = [
        (shape, each.verb, each.counted / 2**20, each.formula / 2**20) for shape, of in found.items() for each in of
    ]
    large = large_model()
    figures.append(Figure(f"GiB of an 8B model, {LONG:,} tokens, the most of all verbs", max(large.values()), CARD, {}))
    return figures, [
        Table("Peak besides the weights, MiB", ("model", "verb", "counted", "formula"), tuple(rows)),
        Table(
            f"8B, bfloat16, {LONG:,} tokens: GiB with the weights, by the formula",
            ("verb", "GiB"),
            tuple(large.items()),
        ),
    ]


#: GiB of a card of 80 GB, and the tokens of a long prompt.
CARD, LONG = 80e9 / GIB, 4096


def large_model(shape: Shape = LARGE, tokens: int = LONG) -> dict[str, float]:
    """GiB that each verb takes of a card with a large model on it, the weights included."""
    rows = max(1, verification.CACHED * verification.LARGEST_BATCH // tokens)
    verifying = memory_needed.verifying(shape, tokens, rows=rows, read=verification.LARGEST_BATCH // rows)
    documents = LARGEST_BATCH
    peaks = {
        "discover --no-verify": memory_needed.attributing(shape, tokens),
        f"discover, {EFFECTS} exact effects": max(memory_needed.attributing(shape, tokens), verifying),
        "verify": verifying,
        f"edges --targets {TARGETS}": memory_needed.tracing(shape, tokens, rows=max(1, edges.LARGEST_BATCH // tokens)),
        "faithfulness, means at each position": max(
            memory_needed.averaging(shape, tokens, longest=tokens),
            memory_needed.keeping(shape, tokens, places=tokens, ranked=EFFECTS, rankings=6),
        ),
        "atlas build, all layers": memory_needed.surveying(
            shape,
            documents,
            statistics=bytes_of(shape.neurons, K),
            working=working_bytes(shape.d_mlp, K, documents),
        ),
        f"train-round --rank {RANK}, half of it the reply": memory_needed.training(
            shape, tokens, learned=memory_needed.adapter(shape, RANK), reply=tokens // 2
        ),
    }
    return {verb: (shape.weights + size) / GIB for verb, size in peaks.items()}


def main() -> None:
    torch.set_num_threads(THREADS)
    figures, tables = measured("--wide" in sys.argv)
    report("memory", figures, surroundings("float32 and bfloat16", "simulated"), tables, ("--wide",))


if __name__ == "__main__":
    main()
