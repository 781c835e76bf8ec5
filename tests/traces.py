"""All that a command could leave behind in a model and in torch: hooks, modules, marks, modes, flags, configuration."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

#: What torch keeps in a module beside its hooks, and what stands for itself in `traces`.
_OWN = {"_parameters", "_buffers", "_modules", "training"}


def traces(model: PreTrainedModel) -> dict[str, Any]:
    """What is there, by name; equal to itself later where nothing has been left behind. Weights are not looked into."""
    found: dict[str, Any] = {
        "torch": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.get_default_dtype(),
            os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        ),
        "chance": torch.get_rng_state().tolist(),
        "config": (model.config.to_dict(), sorted(vars(model.config)), model.config._attn_implementation),
        "generation": None if model.generation_config is None else model.generation_config.to_dict(),
    }
    for name, module in model.named_modules(remove_duplicate=False):
        found[f"module {name}"] = (id(module), type(module), module.training, *_marks(module))
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[f"weight {name}"] = (id(parameter), parameter.data_ptr(), parameter.requires_grad, parameter.grad is None)
    return found


def _marks(module: nn.Module) -> tuple[Any, ...]:
    """The attributes of a module: hooks by what they call, plain values as they are, all else by identity."""
    return tuple(
        (name, _said(value)) for name, value in sorted(vars(module).items()) if name not in _OWN and value is not module
    )


def _said(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return tuple((str(key), id(each)) for key, each in value.items())
    if isinstance(value, list | tuple | set):
        return tuple(id(each) for each in value)
    return id(value)


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs, as it was and as it is."""
    return {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
