"""Attention patterns: the weights with which each head attends from a position to those before it.

They are the weights that the family's own attention function computes, softcap, sliding window and shared keys
included, under whatever is suppressed and live. A row sums to 1, or to less in families with sinks: a sink takes part
in the softmax, and is no position. Families older than transformers' attention interface compute their weights inside
their attention module, which returns them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.errors import ModelError, UsageError
from sessions.interventions.answering import ConditionedPrompt, running_rows
from sessions.model.anatomy import has_eager_attention
from sessions.model.attending import exchanged
from sessions.model.attention_calls import AttentionCall, tapped
from sessions.model.finite import not_finite
from sessions.model.hooks import after, only_to, watched
from sessions.model.logits import no_logits
from sessions.model.opening import PLAIN, OpenModel
from sessions.model.tokens import last_positions

#: Takes the number of a layer, that of a query, and the weights of it and those behind it, `[heads, queries, keys]`.
HearPattern = Callable[[int, int, Tensor], None]
#: Tokens of a text whose patterns are read from a family that keeps all of them at once.
MOST_AT_ONCE = 1024


@torch.inference_mode()
def read_patterns(
    opened: OpenModel,
    row: ConditionedPrompt,
    ids: Sequence[int],
    layers: Sequence[int],
    hear: HearPattern,
    *,
    logits: bool = False,
    cancel: Cancel | None = None,
) -> Tensor:
    """Hand over the pattern of each of some layers in a text, a block of queries at a time.

    Args:
        row: the prompt that the text begins with, and the interventions in force.
        ids: the text.
        logits: compute those of all positions.

    Returns:
        the logits, `[seq or 0, vocab]`.

    Raises:
        ModelError: a layer has no attention, or its module does not show its pattern.
        UsageError: the text is too long for a family that keeps all patterns at once.
        NotFinite: a weight is NaN.
    """
    anatomy = opened.anatomy
    batch = torch.tensor([list(ids)], device=opened.device)

    broken: list[int] = []

    def heard(layer: int, first: int, weights: Tensor) -> None:
        if bool(weights.isnan().any()):
            broken.append(layer)
        else:
            hear(layer, first, weights[0])

    kept = last_positions(len(ids) if logits else 1, batch)
    with watched(anatomy, cancel), running_rows(opened, [row]):
        last = max(layers, default=0)
        ends = nullcontext() if logits or not shows_scores(opened, last) else only_to(anatomy, last)
        with _heard(opened, layers, len(ids), heard), ends, nullcontext() if logits else no_logits(anatomy):
            output: Tensor = opened.model(input_ids=batch, use_cache=False, logits_to_keep=kept).logits
        if broken:
            raise not_finite(opened, [ids], "an attention pattern")
    return output[0]


def shows_scores(opened: OpenModel, layer: int) -> bool:
    """Whether the queries, keys and values of a layer's heads can be read, and not only their patterns."""
    return has_eager_attention(opened.anatomy.heads_of(layer).attention)


@contextmanager
def _heard(
    opened: OpenModel, layers: Sequence[int], length: int, hear: Callable[[int, int, Tensor], None]
) -> Iterator[None]:
    modules = {layer: opened.anatomy.heads_of(layer).attention for layer in layers}
    if all(map(has_eager_attention, modules.values())):

        def calls(layer: int) -> Callable[[AttentionCall], None]:
            return lambda call: hear(layer, call.first, call.weights)

        with tapped(opened.model, {module: calls(layer) for layer, module in modules.items()}):
            yield
        return
    if length > MOST_AT_ONCE:
        raise UsageError(
            f"the text has {length:,} tokens, and '{opened.info.family}' computes a whole pattern at once",
            f"patterns of this family are read from at most {MOST_AT_ONCE:,} tokens",
        )

    def returned(layer: int, _: Tensor, output: object) -> object:
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if not isinstance(weights, Tensor) or weights.shape[-2:] != (length, length) or weights.ndim != 4:
            raise ModelError(f"the attention of '{opened.info.family}' does not show its patterns", "")
        hear(layer, 0, weights)
        return output

    with ExitStack() as stack:
        stack.enter_context(exchanged(opened.model, PLAIN, PLAIN))
        for layer, module in modules.items():
            stack.enter_context(after(module, partial(returned, layer)))
        yield
