"""Numbers of the reference implementation, which ours are compared with.

`data/smollm2_austin_attribution.json` holds neuron attributions of ' Austin' over ' Houston' on
SmolLM2-135M-Instruct in float32, with gradients through queries and keys, position 0 left out. Its
field `what` tells how they were made.
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class Reference(msgspec.Struct, frozen=True):
    """The reference file. `top` rows are (layer, position, neuron, attribution, activation)."""

    prompt: str
    seed: str
    formatted: str
    ids: tuple[int, ...]
    target_id: int
    counterfactual_id: int
    logit_target: float
    logit_counterfactual: float
    logit_diff: float
    sum_attribution_without_position_0: float
    top: tuple[tuple[int, int, int, float, float], ...] = msgspec.field(name="top500")


AUSTIN = msgspec.json.decode(
    (Path(__file__).parent / "data" / "smollm2_austin_attribution.json").read_bytes(), type=Reference
)
