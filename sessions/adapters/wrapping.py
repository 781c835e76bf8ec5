"""PEFT's wrappers: put around projections of the model in memory, and removed without a trace.

A wrapper takes the place of a projection and contains it; an adapter is a path in each wrapper. Removing an adapter
unwraps the projections that no other adapter is on: the modules are the same objects as before, with the same bits.

PEFT chooses projections by the ends of their names, and for some families of experts it takes such names for parameters
of the experts. Here full names are given, as the keys of a state, which PEFT takes literally: exactly the projections
asked for are wrapped, in every family.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

#: The attributes in which torch keeps hooks on a module.
_HOOKS = (
    "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip


def wrap(model: nn.Module, config: Any, names: Sequence[str], inside: str, *, empty: bool = False) -> dict[str, Any]:
    """Wrap the projections of these names for an adapter that PEFT knows as `inside`; returns the wrappers by name.

    The factors are float32, whatever the model's dtype: a learned change is often smaller than its last digit.

    Args:
        config: PEFT's LoraConfig of it, whose ranks may differ by name; what it says of targets is set here.
        empty: leave the factors without numbers.

    Raises:
        Exception: whatever PEFT may raise; `unwrap` cleans up after it.
    """
    from peft import inject_adapter_in_model

    plain, wrapped = dict(plain_modules(model)), dict(wrappers_of(model))
    config.target_modules = set()
    state = {f"{name}.lora_A.weight": torch.empty(0) for name in names}
    with quiet():
        inject_adapter_in_model(config, model, inside, low_cpu_mem_usage=empty, state_dict=state)
    config.target_modules = set(names)
    config.target_parameters = None
    wrappers = dict(wrappers_of(model, inside))
    for name, wrapper in wrappers.items():
        if name not in wrapped:
            _hand_over(plain[name], wrapper)
        wrapper.train(plain[name].training)  # new modules begin in training mode
        for factors in (wrapper.lora_A, wrapper.lora_B):
            factors[inside].float()
    return wrappers


def unwrap(model: nn.Module, inside: str) -> None:
    """Remove one adapter, and the wrappers that no other is on. Also cleans up after a failed `wrap`."""
    left, configs = [name for name in active(model) if name != inside], configs_of(model)
    for name, wrapper in list(wrappers_of(model)):
        with quiet():
            wrapper.delete_adapter(inside)
        if not wrapper.lora_A and not wrapper.lora_embedding_A:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, wrapper.base_layer)
            _hand_over(wrapper, wrapper.base_layer)
    configs.pop(inside, None)
    if not configs and hasattr(model, "peft_config"):
        del model.peft_config
    activate(model, left)


def _hand_over(source: nn.Module, target: nn.Module) -> None:
    """Move hooks from a module to the one that takes its place. The dicts themselves move: handles refer to them."""
    for name in _HOOKS:
        mine, other = getattr(source, name), getattr(target, name)
        setattr(source, name, other)
        setattr(target, name, mine)


def wrappers_of(model: nn.Module, inside: str | None = None) -> Iterator[tuple[str, Any]]:
    """The wrapped projections by name: all, or those that one adapter is on."""
    if "peft" not in sys.modules:
        return
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and (inside is None or inside in module.lora_A):
            yield name, module


def plain_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules of the model as it was opened, by the names they had then."""
    wrapped = {name: wrapper.base_layer for name, wrapper in wrappers_of(model)}
    for name, module in model.named_modules():
        if name in wrapped:
            yield name, wrapped[name]
        elif not any(name.startswith(f"{outer}.") for outer in _above(name) if outer in wrapped):
            yield name, module


def _above(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


def configs_of(model: nn.Module) -> dict[str, Any]:
    """The adapters that PEFT has put on the model, by the names it knows them by."""
    configs: dict[str, Any] = getattr(model, "peft_config", None) or {}
    return configs


def active(model: nn.Module) -> list[str]:
    """The adapters that are active, in the order they were put on."""
    wrapper = next((wrapper for _, wrapper in wrappers_of(model)), None)
    return [] if wrapper is None else [name for name in wrapper.active_adapters if name in configs_of(model)]


def activate(model: nn.Module, names: Sequence[str], *, trained: bool = False) -> None:
    """Activate these adapters and deactivate all others; their factors have gradients where `trained`."""
    for _, wrapper in wrappers_of(model):
        wrapper.set_adapter(list(names), inference_mode=not trained)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block PEFT's many warnings are dropped: everything that matters was checked before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
