"""Weight edits on smollm2: whether undo restores every bit, whether edits equal hooks, and how long one takes.

Random sequences of edits, of turning them off and on, of undo and redo, with generated texts in between, run in float32
and bfloat16. After each, the sha256 of the weights must be the original one. Edits of each kind are compared with the
same edits as hooks. One neuron, its gate and up rows and its column, is edited and undone. `rewriting` measures
rewritten neurons.

python -m benchmarks.edits [--json]
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import rewriting
from benchmarks.measuring import THREADS, Figure, in_turns, report, surroundings
from sessions.edits.edit import Edit, LowRank, Neurons, Projection
from sessions.edits.hooked import hooked
from sessions.edits.ledger import Ledger
from sessions.events import finished
from sessions.model.fingerprint import of_bits
from sessions.model.generation import Decoding, generate
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel, open_model
from sessions.model.places import parts_of
from sessions.model.tokens import encode
from sessions.store import Store

#: Sequences in each dtype, steps in each, and how many of the steps write a text of so many tokens.
SEQUENCES, STEPS, TOKENS = 100, 8, 2
#: Edits that are compared with the same edits as hooks, and the most that they may differ, relative to the largest
#: logit.
EDITS, APART = 12, 1e-5
#: The most seconds to edit one neuron and undo it, and the rounds measured.
SECONDS, ROUNDS = 5e-3, 200
PROMPT = "What is the capital of Texas?"


def main() -> None:
    torch.set_num_threads(THREADS)
    opened = _opened("float32")
    made = rewriting.rewritten(opened)
    report(
        "edits",
        [*figures(opened), *rewriting.figures(made)],
        surroundings("float32 and bfloat16", "cpu"),
        [rewriting.table(made)],
    )


def figures(opened: OpenModel) -> list[Figure]:
    """The figures of weight edits; `opened` is smollm2 in float32."""
    return [returned(opened), returned(_opened("bfloat16")), apart(opened), one_neuron(opened)]


def _opened(dtype: str) -> OpenModel:
    return finished(open_model("smollm2", models=Store().models, dtype=dtype, device="cpu"))


def returned(opened: OpenModel) -> Figure:
    """The number of random sequences after which some bit of the weights differs."""
    before, failures = _bits(opened), 0
    for seed in range(SEQUENCES):
        rng, ledger = random.Random(seed), Ledger(opened)
        for step in range(STEPS):
            _step(opened, ledger, rng, f"{seed}-{step}")
        ledger.close()
        failures += _bits(opened) != before
    dtype = opened.info.dtype
    return Figure(f"of {SEQUENCES} sequences in {dtype}, those that change a bit of the weights", failures, 0, {})


def _step(opened: OpenModel, ledger: Ledger, rng: random.Random, name: str) -> None:
    """A random possible step: an edit half of the time, else one of the others."""
    entries = ledger.entries
    possible: list[Callable[[], object]] = [lambda: _text(opened)]
    if entries:
        number = rng.randint(1, len(entries))
        possible += [
            lambda: ledger.undo(rng.randint(1, len(entries))),
            lambda: ledger.turn(number, not entries[number - 1].on),
            lambda: ledger.turn_all(rng.random() < 0.5),
        ]
    if ledger.undone:
        possible.append(lambda: ledger.redo(rng.randint(1, len(ledger.undone))))
    if rng.random() < 0.5:
        ledger.apply(_random_edit(opened, rng, name))
    else:
        rng.choice(possible)()


def _random_edit(opened: OpenModel, rng: random.Random, name: str) -> Edit:
    """Neurons, a subspace, or factors, at some layer."""
    layer, draw = rng.randrange(opened.anatomy.n_layers), torch.Generator().manual_seed(rng.randrange(2**31))
    kind = rng.choice((_neurons, _cut, _factors))
    return Edit(kind.__name__, "", kind(opened, layer, draw), name=name)


def _neurons(opened: OpenModel, layer: int, draw: torch.Generator) -> tuple[Neurons, ...]:
    """All parts of three neurons."""
    indices = tuple(torch.randperm(opened.anatomy.widths[layer], generator=draw)[:3].tolist())
    width = opened.anatomy.d_model
    return tuple(
        Neurons(layer, part, indices, torch.randn(3, width, generator=draw))
        for part in parts_of(opened.anatomy, layer, indices[0])
    )


def _cut(opened: OpenModel, layer: int, draw: torch.Generator) -> tuple[Projection, ...]:
    basis = torch.linalg.qr(torch.randn(opened.anatomy.d_model, 10, generator=draw))[0].T.contiguous()
    return Projection(layer, "down", basis), Projection(layer, "attn_out", basis)


def _factors(opened: OpenModel, layer: int, draw: torch.Generator) -> tuple[LowRank, ...]:
    name, width = f"model.layers.{layer}.self_attn.q_proj", opened.anatomy.d_model
    left, right = torch.randn(width, 8, generator=draw), torch.randn(8, width, generator=draw)
    return (LowRank(name, 0.02 * left, right),)


def _text(opened: OpenModel) -> None:
    ids = encode(opened.tokenizer, Prompt(text=PROMPT, chat=False)).ids
    for _ in generate(opened.model, opened.tokenizer, [ids], Decoding(max_tokens=TOKENS)):
        pass


def _bits(opened: OpenModel) -> str:
    return finished(of_bits(opened.model))


def apart(opened: OpenModel) -> Figure:
    """The largest difference between edits and the same edits as hooks, over all kinds and layers, relative to the
    largest logit."""
    rng, most = random.Random(0), 0.0
    for number in range(EDITS):
        edit = _random_edit(opened, rng, str(number))
        with hooked(opened, edit):
            hooks = _logits(opened)
        with edit.applied(opened):
            weights = _logits(opened)
        most = max(most, float((weights - hooks).abs().max() / weights.abs().max()))
    return Figure("logits of an edit as weights and as hooks, apart, over the largest", most, APART, {})


@torch.inference_mode()
def _logits(opened: OpenModel) -> Tensor:
    ids = encode(opened.tokenizer, Prompt(text=PROMPT)).ids
    logits: Tensor = opened.model(torch.tensor([ids]), use_cache=False).logits[0]
    return logits


def one_neuron(opened: OpenModel) -> Figure:
    """Seconds to edit one neuron and undo it."""
    draw, ledger = torch.Generator().manual_seed(0), Ledger(opened)
    changes = tuple(
        Neurons(20, part, (5,), torch.randn(1, opened.anatomy.d_model, generator=draw))
        for part in parts_of(opened.anatomy, 20, 5)
    )
    edit = Edit("rewrite", "", changes, name="one")

    def run() -> None:
        ledger.apply(edit)
        ledger.undo()

    seconds = in_turns(ROUNDS, neuron=run)
    return Figure("seconds to apply and undo one neuron", seconds["neuron"], SECONDS, seconds)


if __name__ == "__main__":
    main()
