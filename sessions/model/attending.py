"""Attention implementations of our own in place of a model's, as context managers.

Transformers calls the attention function that a config names (`ALL_ATTENTION_FUNCTIONS`). A function that is registered
there gets the attention module, its queries, keys and values, and the mask. `registered` adds one with the mask of
another; without a mask of its name the causal mask is dropped. `exchanged` makes a model use such functions inside a
block.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

#: An attention function: module, queries `[batch, heads, seq, d]`, keys, values and mask to output and pattern.
AttentionFunction = Callable[..., Any]


def registered(name: str, function: AttentionFunction, *, fused: bool = False) -> None:
    """Make an attention function known to transformers; a `fused` one gets the mask of torch's fused attention."""
    ALL_ATTENTION_FUNCTIONS.register(name, function)
    ALL_MASK_ATTENTION_FUNCTIONS.register(name, sdpa_mask if fused else eager_mask)


@contextmanager
def exchanged(model: PreTrainedModel, eager: str, fused: str) -> Iterator[None]:
    """Inside the block `model` attends with the function `fused` where it used torch's fused one, else `eager`."""
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    earlier = {key: config._attn_implementation for key, config in configs.items()}
    try:
        for config in configs.values():
            config._attn_implementation = fused if config._attn_implementation == "sdpa" else eager
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = earlier[key]


def eager_of(module: nn.Module) -> AttentionFunction:
    """The eager attention of an attention module's family, softcaps and sinks included."""
    function: AttentionFunction = sys.modules[type(module).__module__].eager_attention_forward
    return function


def fused_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kw: Any
) -> Any:
    """Torch's fused attention."""
    return sdpa_attention_forward(module, query, key, value, mask, **kw)


@contextmanager
def attending(model: PreTrainedModel, module: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """Inside the block, the attention of `module` is `function(attend, module, query, key, value, mask, …)`, where
    `attend` is the model's own; all other modules attend as ever. Blocks do not nest."""
    _OTHERS[id(module)] = function
    try:
        with exchanged(model, _OTHER, _OTHER_FUSED):
            yield
    finally:
        del _OTHERS[id(module)]


#: The functions that modules attend with, by the module's identity, inside `attending`.
_OTHERS: dict[int, Callable[..., Any]] = {}
_OTHER, _OTHER_FUSED = "workbench_other", "workbench_other_fused"


def _other(module: nn.Module, *inputs: Any, **options: Any) -> Any:
    return _own(eager_of(module), module, inputs, options)


def _other_fused(module: nn.Module, *inputs: Any, **options: Any) -> Any:
    return _own(fused_attention, module, inputs, options)


def _own(attend: AttentionFunction, module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    function = _OTHERS.get(id(module))
    return attend(module, *inputs, **options) if function is None else function(attend, module, *inputs, **options)


registered(_OTHER, _other)
registered(_OTHER_FUSED, _other_fused, fused=True)
