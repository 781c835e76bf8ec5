"""Interventions: arms in one batch, a gate before it opens, suppression, and a killed sweep.

    python -m benchmarks.interventions [--json] [--quick]

`--quick` leaves out the killed sweep, which takes most of the time.
"""

from __future__ import annotations

import sys
from functools import partial

import torch

from benchmarks.generate import TOKENS, by_transformers
from benchmarks.measuring import THREADS, Figure, in_turns, report, surroundings
from benchmarks.sweeping import killed
from sessions.events import finished
from sessions.interventions.answering import compare, running_rows
from sessions.interventions.arms import Arm, Condition
from sessions.interventions.intervention import Intervention, TokenScope
from sessions.interventions.suppressing import Suppression
from sessions.model.generation import Decoding, generate
from sessions.model.info import Encoded, Prompt
from sessions.model.opening import OpenModel, open_model
from sessions.model.tokens import encode
from sessions.model.units import Unit
from sessions.store import Store
from tests.reference import AUSTIN

#: Neurons that are suppressed, over all layers.
SUPPRESSED = 2000


def main() -> None:
    torch.set_num_threads(THREADS)
    opened = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    encoded = encode(opened.tokenizer, Prompt(text=AUSTIN.prompt))
    parts = [arms, gate, suppression]
    figures = [figure for part in parts for figure in part(opened, encoded)]
    if "--quick" not in sys.argv:
        figures += killed()
    report("interventions", figures, surroundings("float32", "cpu"), switches=["--quick"])


def conditions() -> list[Condition]:
    """Eight arms of every kind: multiples, constants, and parts of the text."""
    circuit = tuple(dict.fromkeys(Unit(row[0], row[2]) for row in AUSTIN.top))[:50]
    first = circuit[:5]
    treatments = {
        "baseline": Intervention(()),
        "ablated": Intervention(circuit, 0.0),
        "halved": Intervention(circuit, 0.5),
        "amplified": Intervention(circuit, 2.0),
        "shifted": Intervention(first, 1.0, (3.0,) * len(first)),
        "shifted in what is generated": Intervention(first, 1.0, (3.0,) * len(first), TokenScope("generated")),
        "ablated in the prompt": Intervention(circuit, 0.0, where=TokenScope("prompt")),
        "ablated in the answer": Intervention(circuit, 0.0, where=TokenScope("answer", marker=" is")),
    }
    return [Condition(name, (treatment,)) for name, treatment in treatments.items()]


def arms(opened: OpenModel, encoded: Encoded) -> list[Figure]:
    """Eight arms as eight rows of a batch, against eight runs."""
    eight = conditions()

    def run(part: list[Condition]) -> tuple[Arm, ...]:
        return finished(compare(opened, encoded, part, Decoding(max_tokens=TOKENS), streamed=False))[0]

    def singles() -> list[Arm]:
        return [run([condition])[0] for condition in eight]

    different = sum(a.ids != b.ids for a, b in zip(run(eight), singles(), strict=True))
    seconds = in_turns(3, batch=partial(run, eight), singles=singles)
    return [
        Figure("eight arms in one batch / eight single runs", seconds["batch"] / seconds["singles"], 0.35, seconds),
        Figure("texts that differ between the two", different, 0, {}),
    ]


def gate(opened: OpenModel, encoded: Encoded) -> list[Figure]:
    """The number of steps whose logits differ by a bit while a gate is closed, in a text that never opens it."""
    neurons = tuple(Unit(layer, index) for layer in range(30) for index in range(50))
    shut = Condition("shut", (Intervention(neurons, 5.0, where=TokenScope("answer", marker="no text has this")),))

    def steps(condition: Condition) -> list[torch.Tensor]:
        with running_rows(opened, [(encoded, condition)]):
            found = generate(opened.model, opened.tokenizer, [encoded.ids], Decoding(max_tokens=TOKENS))
            return [step.logits for step in found]

    pairs = zip(steps(Condition("plain")), steps(shut), strict=True)
    different = sum(not torch.equal(plain, gated) for plain, gated in pairs)
    seconds = in_turns(3, plain=partial(steps, Condition("plain")), gated=partial(steps, shut))
    return [Figure(f"steps of {TOKENS} that differ before a gate opens", different, 0, seconds)]


def suppression(opened: OpenModel, encoded: Encoded) -> list[Figure]:
    """The time of thirty-two tokens with neurons suppressed in every layer, against transformers alone."""
    widths = opened.anatomy.widths
    generator = torch.Generator().manual_seed(0)
    each = -(-SUPPRESSED // len(widths))
    drawn = [torch.randperm(width, generator=generator)[:each].tolist() for width in widths]
    neurons = [Unit(layer, index) for layer, indices in enumerate(drawn) for index in indices][:SUPPRESSED]
    plain = by_transformers(opened, encoded.ids)

    def ours(suppressed: bool) -> None:
        with Suppression(opened.anatomy, neurons if suppressed else []).held():
            finished(generate(opened.model, opened.tokenizer, [encoded.ids], Decoding(max_tokens=TOKENS)))

    seconds = in_turns(9, plain=plain, ours=partial(ours, False), suppressed=partial(ours, True))
    name = f"{len(neurons):,} neurons suppressed in {len(widths)} layers / plain transformers"
    return [Figure(name, seconds["suppressed"] / seconds["plain"], 1.05, seconds)]


if __name__ == "__main__":
    main()
