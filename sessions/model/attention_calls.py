"""What attention modules compute: their queries, keys and values, and the pattern that comes of them.

A family's own eager function computes them: softcaps, sinks, sliding windows and shared keys are in it, or in the mask
that it gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sessions.model.attending import eager_of, exchanged, fused_attention, registered

#: Names of the implementations that hand over what they compute: in a model that attends with its family's eager
#: function, and in one with torch's fused function, which still serves the modules that nobody hears.
TAPPED, TAPPED_FUSED = "workbench_tapped", "workbench_tapped_fused"
#: Elements of an attention pattern that are in memory at once.
PATTERN = 2**24


@dataclass(frozen=True)
class AttentionCall:
    """What an attention module hands to the family's eager function, for some queries, and the pattern it computes.

    `query` is `[batch, heads, queries, d]`, `key` and `value` are `[batch, key heads, keys, d]`, positions encoded.
    `weights` is `[batch, heads, queries, keys]`. The queries are those from number `first` of the call on. `mask` is
    added to the scores, and `arguments` are the function's other arguments, such as `scaling` and `softcap`.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    weights: Tensor
    first: int
    arguments: Mapping[str, Any]

    @property
    def scaling(self) -> float:
        """What the products of queries and keys are multiplied by."""
        given = self.arguments.get("scaling")
        return float(self.query.shape[-1] ** -0.5 if given is None else given)


Hear = Callable[[AttentionCall], None]

#: Who hears of the calls of each attention module, while a block of `tapped` is open.
_hearing: dict[nn.Module, Hear] = {}


@contextmanager
def tapped(model: PreTrainedModel, hearing: Mapping[nn.Module, Hear]) -> Iterator[None]:
    """Inside the block, some attention modules compute their family's own eager function, and their calls are heard.

    A long text is computed a block of queries at a time; each block is heard on its own. No gradient passes through the
    function: the queries, keys and values that are heard keep theirs.
    """
    _hearing.update(hearing)
    try:
        with exchanged(model, TAPPED, TAPPED_FUSED):
            yield
    finally:
        for module in hearing:
            del _hearing[module]


def _tapped(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **arguments: Any
) -> tuple[Tensor, None]:
    eager, hear, length = eager_of(module), _hearing.get(module), query.shape[2]
    rows = max(1, PATTERN // (query.shape[0] * query.shape[1] * key.shape[2]))
    outputs, fixed = [], (key.detach(), value.detach())  # with a graph, all blocks would stay in memory
    for first in range(0, length, rows):
        part = query[:, :, first : first + rows]
        mask = attention_mask
        if mask is not None and mask.shape[-2] == length:
            mask = mask[..., first : first + rows, :]
        output, weights = eager(module, part.detach(), *fixed, mask, **arguments)
        outputs.append(output)
        if hear is not None:
            hear(AttentionCall(part, key, value, mask, weights, first, arguments))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1), None


def _tapped_fused(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **arguments: Any
) -> Any:
    if module in _hearing:
        return _tapped(module, query, key, value, attention_mask, **arguments)
    return fused_attention(module, query, key, value, attention_mask, **arguments)


registered(TAPPED, _tapped)
registered(TAPPED_FUSED, _tapped_fused)  # with the mask of eager attention, which torch's fused one takes too
