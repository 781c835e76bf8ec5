"""Finds the projections in a model's layers by the last part of their names, which a plan of training uses.

Wrappers of adapters do not count: the projections are those of the model as it was opened. Experts that are parameters
instead of modules are not projections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn
from transformers.pytorch_utils import Conv1D

from sessions.adapters.wrapping import plain_modules
from sessions.errors import UsageError
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy


def modules_of(anatomy: Anatomy) -> tuple[str, ...]:
    """The last parts of the names of all projections in the decoder's layers, in the order of their first use."""
    return tuple(dict.fromkeys(name for name, _ in _projections(anatomy)))


def _projections(anatomy: Anatomy) -> Iterator[tuple[str, nn.Module]]:
    """All projections in the decoder's layers, each with the last part of its name."""
    for layer in anatomy.layers:
        for name, module in plain_modules(layer.block):
            if isinstance(module, nn.Linear | Conv1D):
                yield name.rpartition(".")[2], module


def transposed(anatomy: Anatomy, modules: Sequence[str]) -> bool:
    """Whether the weights of these projections are stored transposed, which PEFT must know."""
    return any(isinstance(module, Conv1D) for name, module in _projections(anatomy) if name in modules)


def check_modules(anatomy: Anatomy, modules: Sequence[str]) -> None:
    """Raise `UsageError` for a name that is not a projection of the model; PEFT would ignore it silently."""
    there = modules_of(anatomy)
    missing = next((name for name in modules if name not in there), None)
    if missing is not None or not modules:
        problem = "no module is named" if missing is None else f"no projection of this model is called '{missing}'"
        raise UsageError(problem, f"it has: {', '.join(there)}")


def placed(opened: OpenModel, names: Sequence[str]) -> dict[str, tuple[str, int]]:
    """The last name part and the layer of each projection, by its whole name."""
    layers = {
        id(module): number
        for number, layer in enumerate(opened.anatomy.layers)
        for _, module in plain_modules(layer.block)
    }
    modules = dict(plain_modules(opened.model))
    return {name: (name.rpartition(".")[2], layers[id(modules[name])]) for name in names}


def named(opened: OpenModel, modules: Sequence[str]) -> list[str]:
    """The whole names of the projections in the decoder's layers whose last name part is in `modules`."""
    chosen = {id(module) for name, module in _projections(opened.anatomy) if name in modules}
    return [name for name, module in plain_modules(opened.model) if id(module) in chosen]
