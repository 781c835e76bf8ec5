"""What a GPU does: the whole table, in under ten minutes, on random weights in the shape of Llama-3-8B.

    python -m benchmarks.gpu [--tiny] [--json]

The model is made on the device in bfloat16 (16 GB), so nothing is downloaded. Rows are prefill and decoding (plain,
compiled, with neurons ablated), discover, exact effects, edges, a training step and statistics of an atlas, each beside
the plain call where there is one, with the most memory that it held. `--tiny` runs the same table on the CPU, on a
model of three layers, and shows that the script runs; its times mean nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from benchmarks.measuring import Table, surroundings
from sessions.atlas.building import Building, build, plan
from sessions.circuits.edges import trace
from sessions.errors import WorkbenchError
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.compiling import compile_decoding
from sessions.model.generation import Decoding, generate
from sessions.model.info import Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.procedures.benching import copied, measured, text_of_length, weights_read
from sessions.texts.corpus import Corpus
from tests.families import tiny, tiny_tokenizer

#: The configuration of Llama-3-8B.
LLAMA_3_8B: dict[str, Any] = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "tie_word_embeddings": False,
}
NEEDS = "benchmarks.gpu needs a CUDA device with 40 GB of memory, and this machine has none (--tiny runs on the CPU)."
GB = 1e9


def main() -> None:
    small = "--tiny" in sys.argv
    if not small and not _fits():
        print(NEEDS, file=sys.stderr)
        sys.exit(2)
    opened = tiny_model() if small else llama_3_8b()
    tables = measured_on(opened, *((24, 8, 6) if small else (1024, 64, 200)))
    about = surroundings(opened.info.dtype, opened.info.device)
    if "--json" in sys.argv:
        print(json.dumps({"about": about, "tables": [(table.title, table.header, table.rows) for table in tables]}))
        return
    print("  ".join(f"{name} {value}" for name, value in about.items()))
    for table in tables:
        print(table)


def _fits() -> bool:
    return torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > 40 * GB


def llama_3_8b() -> OpenModel:
    """Random weights in the shape of Llama-3-8B, made on the GPU in bfloat16."""
    config = LlamaConfig(**LLAMA_3_8B, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    with torch.device("cuda"):
        torch.set_default_dtype(torch.bfloat16)
        try:
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        finally:
            torch.set_default_dtype(torch.float32)
    return adopt(model, tiny_tokenizer(), name="random Llama-3-8B", fingerprint="random")


def tiny_model() -> OpenModel:
    return adopt(tiny("llama"), tiny_tokenizer(), name="tiny", fingerprint="random")


def measured_on(opened: OpenModel, tokens: int, written: int, effects: int) -> list[Table]:
    """All rows for a model: text of so many tokens, tokens written, and neurons of exact effects and edges."""
    bandwidth, read = copied(opened.device), weights_read(opened)
    found = finished(measured(opened, tokens=tokens, written=written, effects=effects, repeats=2))
    work = tuple((row.name, row.seconds, row.rate, row.ratio or 0.0) for row in found.rows)
    more = [*ways(opened, tokens, written, bandwidth / read)]
    memory = [peak(opened, name, *piece) for name, piece in pieces(opened, tokens, min(effects, 30)).items()]
    return [
        Table("Work", ("what", "seconds", "a second", "ratio to the plain call"), work),
        Table("Decoding", ("a token that is", "seconds", "a second", "share of bandwidth"), tuple(more)),
        Table("Memory", ("what", "seconds", "a second", "peak GB", "peak / weights"), tuple(memory)),
    ]


def ways(opened: OpenModel, tokens: int, written: int, bound: float) -> list[tuple[str | float, ...]]:
    """Seconds of a token: plain and treated, by the model itself and by the compiled step. `bound` are the tokens a
    second that the bandwidth allows."""
    ids = text_of_length(opened, tokens)
    neurons = tuple(Unit(layer, index) for layer in range(opened.anatomy.n_layers) for index in range(8))

    def seconds(units: tuple[Unit, ...], count: int) -> float:
        with intervening(opened.anatomy, [Intervention(units, 0.0)]):
            start = perf_counter()
            finished(generate(opened.model, opened.tokenizer, [ids], Decoding(max_tokens=count)))
            return perf_counter() - start  # its last token is on the host: the device is done

    def row(name: str, units: tuple[Unit, ...]) -> tuple[str | float, ...]:
        seconds(units, 3)
        each = (seconds(units, written) - seconds(units, 1)) / (written - 1)
        each = max(each, 1e-9)
        return name, each, 1 / each, 1 / each / bound

    rows = [row("plain", ()), row("with neurons ablated", neurons)]
    reason = compile_decoding(opened.model, "eager" if opened.device.type == "cpu" else "inductor")
    if reason:
        return [*rows, (f"not compiled: {reason}", 0.0, 0.0, 0.0)]
    return [*rows, row("compiled", ()), row("compiled, with neurons ablated", neurons)]


def pieces(opened: OpenModel, tokens: int, effects: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Edges and an atlas: how many neurons or documents, and the work."""
    ids = text_of_length(opened, tokens)
    target = Target(tokens=(Token(ids[0], ""),))
    width, layers = min(opened.anatomy.widths), opened.anatomy.n_layers
    neurons = [Unit(n % layers, n * 13 % width, n * 5 % len(ids)) for n in range(effects)]
    corpus = Corpus(most=8 if opened.device.type == "cpu" else None)
    planned = plan(opened, corpus, finished(corpus.surveyed()))
    documents = planned.survey.documents
    return {
        f"edges of {effects} neurons": (effects, lambda: finished(trace(opened, ids, target, neurons, effects))),
        f"atlas of {documents} documents": (documents, lambda: finished(build(Building(opened, planned), corpus))),
    }


def peak(opened: OpenModel, name: str, count: int, run: Callable[[], object]) -> tuple[str | float, ...]:
    """How long a piece of work takes, and the most memory that the device held meanwhile; 0 on a CPU."""
    cuda = opened.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = perf_counter()
    try:
        run()
    except WorkbenchError as error:
        return f"{name}: {error.message}", 0.0, 0.0, 0.0, 0.0
    if cuda:
        torch.cuda.synchronize()
    seconds = perf_counter() - start
    held = torch.cuda.max_memory_allocated() if cuda else 0
    return name, seconds, count / seconds, held / GB, held / weights_read(opened)


if __name__ == "__main__":
    main()
