"""Generation with and without ablated neurons, against plain `transformers.generate`.

python -m benchmarks.generate [--json]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from benchmarks.measuring import THREADS, Figure, in_turns, report, surroundings
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.generation import Decoding, generate
from sessions.model.info import Encoded, Prompt
from sessions.model.opening import OpenModel, open_model
from sessions.model.tokens import encode
from sessions.model.units import Unit
from sessions.store import Store
from tests.reference import AUSTIN

TOKENS = 32


def main() -> None:
    torch.set_num_threads(THREADS)
    opened = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    encoded = encode(opened.tokenizer, Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed))
    neurons = tuple(Unit(layer, index) for layer, index in dict.fromkeys((row[0], row[2]) for row in AUSTIN.top[:300]))
    neurons = neurons[:200]
    report(
        "generate",
        generation(opened, encoded, neurons),
        surroundings("float32", "cpu"),
    )


def by_transformers(opened: OpenModel, prompt: Sequence[int], tokens: int = TOKENS) -> Callable[[], object]:
    """As many tokens by transformers alone; its own decoding is not compiled."""
    ids = torch.tensor([list(prompt)])
    return partial(
        opened.model.generate,
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        eos_token_id=None,
        pad_token_id=opened.tokenizer.pad_token_id,
    )


def generation(opened: OpenModel, encoded: Encoded, neurons: tuple[Unit, ...]) -> list[Figure]:
    """Ratios for thirty-two tokens (no token ends the text), plain and with neurons ablated."""
    plain = by_transformers(opened, encoded.ids)

    def ours(multiplier: float | None) -> None:
        rows = [Intervention(neurons if multiplier is not None else (), multiplier or 0.0)]
        with intervening(opened.anatomy, rows):
            finished(generate(opened.model, opened.tokenizer, [encoded.ids], Decoding(max_tokens=TOKENS)))

    seconds = in_turns(9, plain=plain, ours=partial(ours, None), ablated=partial(ours, 0.0))
    return [
        Figure(
            f"{TOKENS} tokens, {len(neurons)} neurons ablated / plain",
            seconds["ablated"] / seconds["plain"],
            1.05,
            seconds,
        ),
        Figure(f"{TOKENS} tokens, no intervention / plain", seconds["ours"] / seconds["plain"], 1.05, seconds),
    ]


if __name__ == "__main__":
    main()
