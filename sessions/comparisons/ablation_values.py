"""The values that ablated neurons are held at, other than zero: their means, or their activations elsewhere.

Resampling (resample ablation, Chan et al. 2022, causal scrubbing) takes all values from one position of another text:
unlike means, they are a state that the model was actually in.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sessions.cancel import Cancel
from sessions.circuits.attribution import Reference
from sessions.circuits.recording import recorded
from sessions.errors import UsageError
from sessions.model.opening import OpenModel


@dataclass(frozen=True)
class Drawn:
    """Activations of all neurons and heads at one position of one text, `[width]` for each site."""

    values: Reference
    text: int
    position: int


def drawn(opened: OpenModel, texts: Sequence[Sequence[int]], seed: int, cancel: Cancel | None = None) -> Drawn:
    """Activations at a random position of the texts; the first position of each is excluded.

    Raises:
        UsageError: no text has a second token.
        ModelError: a mixture of experts, whose neurons are not all computed at each position.
    """
    places = [(number, position) for number, ids in enumerate(texts) for position in range(1, len(ids))]
    if not places:
        raise UsageError("there is no text to draw from", "every text needs at least two tokens")
    text, position = random.Random(seed).choice(places)
    read = recorded(opened, texts[text], len(texts[text]), cancel)
    neurons, heads = (tuple(values[position] for values in side) for side in (read.activations, read.heads))
    return Drawn(Reference(neurons, heads=heads), text, position)
