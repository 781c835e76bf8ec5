"""Counts what a generated token costs on the pretended accelerator, here and with transformers' own `generate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention, Region, TokenScope
from sessions.interventions.token_scopes import Extents
from sessions.model.generation import Decoding, generate
from sessions.model.opening import OpenModel
from sessions.model.texts import text_of
from sessions.model.units import Unit
from tests.accelerator import placements
from tests.accelerator.meter import Meter
from tests.families import tiny, tiny_tokenizer

PROMPT = (3, 4, 5, 6, 7)
FEW, MORE = 2, 5
NEURONS = tuple(Unit(layer, index) for layer in range(3) for index in range(5))


@dataclass(frozen=True)
class Cost:
    """Of one generated token: kernels and waits, and the lines that wait."""

    kernels: float
    waits: float
    lines: Counter[tuple[str, str]]


@dataclass(frozen=True)
class Device:
    """A model on the pretended accelerator."""

    opened: OpenModel
    meter: Meter

    def cost(self, write: Callable[[int], object]) -> Cost:
        """The difference between a longer and a shorter text, a token."""
        kernels, waits = [], []
        for tokens in (FEW, MORE):
            self.meter.clear()
            write(tokens)
            kernels.append(sum(self.meter.kernels.values()))
            waits.append(Counter(self.meter.waits))
        lines = waits[1] - waits[0]
        return Cost((kernels[1] - kernels[0]) / (MORE - FEW), lines.total() / (MORE - FEW), lines)

    def ours(self, rows: int = 1, treatments: tuple[Intervention, ...] = (), **decoding: Any) -> Cost:
        prompts = [PROMPT] * min(rows, 3) + [PROMPT[:3]] * (rows - 3)
        lengths = tuple(map(len, prompts))
        extents = Extents(lengths, lengths, partial(text_of, self.opened.tokenizer))

        def write(tokens: int) -> None:
            with intervening(self.opened.anatomy, [treatments] * rows, extents):
                steps = generate(
                    self.opened.model, self.opened.tokenizer, prompts, Decoding(max_tokens=tokens, **decoding)
                )
                finished(steps)

        return self.cost(write)

    def theirs(self, **options: Any) -> Cost:
        ids = torch.tensor([PROMPT], device=self.opened.device)

        @torch.inference_mode()
        def write(tokens: int) -> None:
            self.opened.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                eos_token_id=None,
                pad_token_id=0,
                **options,
            )

        return self.cost(write)


def held(region: Region, neurons: tuple[Unit, ...] = NEURONS) -> tuple[Intervention, ...]:
    return (Intervention(neurons, 0.0, where=TokenScope(region, marker="?!" if region == "answer" else "")),)


RULES = {"guard": True, "repetition_penalty": 1.2, "no_repeat_ngram": 2}
#: How the text is generated, and how transformers generates it.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {"do_sample": False}),
    "sampled": ({"sample": True}, {"do_sample": True, "top_k": 0}),
    "sampled in four rows of two lengths": ({"sample": True, "rows": 4}, {"do_sample": True, "top_k": 0}),
    "sampled from the likeliest": (
        {"sample": True, "top_k": 5, "top_p": 0.9},
        {"do_sample": True, "top_k": 5, "top_p": 0.9},
    ),
    "by the rules": (RULES, {"do_sample": False, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2}),
    "treated": ({"treatments": held("all")}, {"do_sample": False}),
    "treated in what is generated": ({"treatments": held("generated")}, {"do_sample": False}),
    "gated": ({"treatments": held("answer")}, {"do_sample": False}),
    "gated in rows of two lengths": ({"treatments": held("answer"), "rows": 4}, {"do_sample": False}),
    "treated at a position": ({"treatments": held("all", (Unit(1, 3, position=8),))}, {"do_sample": False}),
}


@contextmanager
def counted(folder: Path) -> Iterator[Device]:
    """A tiny model on one device; `folder` is where its files go."""
    tiny("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    with placements.machine(placements.ONE) as meter:
        assert meter is not None
        yield Device(placements.opened(folder, placements.ONE), meter)
