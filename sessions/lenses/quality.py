"""How far the predictions of a lens are from the model's own, on texts that were not used to fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from sessions.cancel import Cancel
from sessions.events import Progress, Steps
from sessions.lenses.findings import LensQuality
from sessions.lenses.readout import AT_ONCE, Translate, divergence, logits_of, states_between, translated
from sessions.model.opening import OpenModel

#: Of so many texts one is held out.
EVERY = 10
#: Tokens that quality is measured on at most.
MEASURED = 512


class Split(NamedTuple):
    """Texts to fit on, and texts that are held out, as ids."""

    fitted: tuple[tuple[int, ...], ...]
    held_out: tuple[tuple[int, ...], ...]


def split(texts: Sequence[tuple[int, ...]]) -> Split:
    """The texts in two parts: every tenth, from the last backwards, is held out; of one text nothing is."""
    held = set(range(len(texts) - 1, 0, -EVERY)) if len(texts) > 1 else set()
    return Split(
        tuple(text for number, text in enumerate(texts) if number not in held),
        tuple(text for number, text in enumerate(texts) if number in held),
    )


@torch.inference_mode()
def measured_on(
    opened: OpenModel,
    texts: Sequence[tuple[int, ...]],
    translations: Mapping[int, Translate],
    cancel: Cancel | None = None,
) -> Steps[tuple[int, tuple[LensQuality, ...]]]:
    """The mean KL(model ‖ lens) of each layer with a translation, without it and with it, and over how many tokens.

    The first token of each text is left out: its state is an attention sink, like no other.
    """
    layers = sorted(translations)
    sums = torch.zeros(len(layers), 2, dtype=torch.float64)
    tokens = 0
    size = max(1, AT_ONCE // opened.anatomy.n_tokens)
    for number, ids in enumerate(texts):
        positions = range(1, min(len(ids), 1 + MEASURED - tokens))
        if not positions:
            continue
        yield Progress("measuring on texts that were held out", number, len(texts), "texts")
        between = states_between(opened, ids, positions, layers, cancel)
        tokens += len(positions)
        for start in range(0, between.count, size):
            part = slice(start, start + size)
            own = logits_of(opened, between.states[-1], between.tupled, part).log_softmax(-1)
            for row, (layer, state) in enumerate(zip(layers, between.states, strict=False)):
                for column, translate in enumerate((None, translations[layer])):
                    moved = translated(opened, state, translate)
                    lens = logits_of(opened, moved, between.tupled, part).log_softmax(-1)
                    sums[row, column] += divergence(lens, own).double().sum().cpu()
    if not tokens:
        return 0, ()
    means = (sums / tokens).tolist()
    return tokens, tuple(
        LensQuality(layer=layer, plain=plain, fitted=fitted)
        for layer, (plain, fitted) in zip(layers, means, strict=True)
    )
