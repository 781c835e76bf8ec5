"""The same edit as hooks: what the model computes with it, while its weights stay as they are.

This is the independent check on edits. By linearity of a projection y = W x + b,

    a row replaced           y_i ← y_i + x · Δ_i            Δ the new line minus the old one
    a column replaced        y ← y + x_i Δ_i
    a projection             y ← P (y − b) + b              P = I − Q Qᵀ, or Q Qᵀ
    a low-rank change        y ← y + L (R x)

so the logits have to be those of the edited weights, up to rounding. Experts compute inside one function, where there
is no such output to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from sessions.edits.edit import Edit, LowRank, Neurons, Projection, WeightChange
from sessions.errors import ModelError
from sessions.model.hooks import after
from sessions.model.opening import OpenModel
from sessions.model.places import module_named, neuron_places, part_module, plain, tied_with, writer_modules

Hook = tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]
"""A module, and what its output becomes, given its input and output."""


_Line = tuple[int, str, int]
"""A line that an edit has changed already: of the matrix or the bias of a module, by its id, or "all" of it."""


@contextmanager
def hooked(opened: OpenModel, edit: Edit) -> Iterator[None]:
    """Inside the block the model computes as if the edit were in its weights.

    Raises:
        UsageError, ArtifactError: the edit does not fit the model.
        ModelError: it changes experts or embeddings, or replaces what it has changed before.
    """
    with edit.applied(opened):
        pass  # it fits: shapes are checked there
    changed: set[_Line] = set()
    with ExitStack() as stack:
        for change in edit.changes:
            for module, hook in _hooks(opened, change, changed):
                stack.enter_context(after(module, hook))
        yield


def _hooks(opened: OpenModel, change: WeightChange, changed: set[_Line]) -> list[Hook]:
    """The hooks of one change. `changed` has what earlier ones change."""
    if isinstance(change, Neurons):
        return _of_neurons(opened, change, changed)
    if isinstance(change, Projection):
        modules = writer_modules(opened.anatomy, change.layer, change.writer)
        changed.update((id(module), "all", 0) for module in modules)
        return [(module, _projecting(module, change)) for module in modules]
    if not isinstance(change, LowRank):
        raise ModelError("an adapter is beside the weights already, not in them")
    module = plain(module_named(opened.model, change.weight))
    if isinstance(module, nn.Embedding) or tied_with(opened.model, change.weight):
        raise ModelError(f"{change.weight} is an embedding, or tied to one: a hook reaches one use of it only")
    changed.add((id(module), "all", 0))
    return [(module, _beside(change))]


def _of_neurons(opened: OpenModel, change: Neurons, changed: set[_Line]) -> list[Hook]:
    groups: dict[int, tuple[nn.Module, list[int], list[int]]] = {}
    for number, index in enumerate(change.indices):
        module, line = part_module(opened.anatomy, change.layer, change.part, index)
        _, lines, numbers = groups.setdefault(id(module), (module, [], []))
        key = (id(module), "bias" if change.part == "bias" else "matrix", line)
        if not change.adds and {(id(module), "all", 0), key} & changed:
            raise ModelError(f"the edit replaces what it has changed before, in layer {change.layer}")
        changed.add(key)
        lines.append(line)
        numbers.append(number)
    difference = torch.empty_like(change.values, dtype=torch.float32, device="cpu")
    for place, which in neuron_places(opened.anatomy, change.layer, change.part, change.indices):
        old = place.read()
        values = change.values[list(which)].to(old.device, torch.float32)
        new = (old.float() + values if change.adds else values).to(old.dtype)
        difference[list(which)] = (new.float() - old.float()).cpu()
    shapes = {"down": _written, "bias": _biased}
    return [
        (module, shapes.get(change.part, _read)(lines, difference[numbers]))
        for module, lines, numbers in groups.values()
    ]


def _read(lines: list[int], difference: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def hook(given: Tensor, output: Tensor) -> Tensor:
        output = output.clone()
        added = given.float() @ difference.to(given.device).T
        output[..., lines] += added.to(output.dtype)
        return output

    return hook


def _biased(lines: list[int], difference: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def hook(_: Tensor, output: Tensor) -> Tensor:
        output = output.clone()
        output[..., lines] += difference[:, 0].to(output)
        return output

    return hook


def _written(lines: list[int], difference: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def hook(given: Tensor, output: Tensor) -> Tensor:
        return output + (given[..., lines].float() @ difference.to(given.device)).to(output.dtype)

    return hook


def _projecting(module: nn.Module, change: Projection) -> Callable[[Tensor, Tensor], Tensor]:
    def hook(_: Tensor, output: Tensor) -> Tensor:
        bias: Tensor | None = getattr(module, "bias", None)
        written = output.float() if bias is None else output.float() - bias.float()
        basis = change.basis.to(output.device, torch.float32)
        inside = (written @ basis.T) @ basis
        kept = inside if change.keeps else written - inside
        return (kept if bias is None else kept + bias.float()).to(output.dtype)

    return hook


def _beside(change: LowRank) -> Callable[[Tensor, Tensor], Tensor]:
    def hook(given: Tensor, output: Tensor) -> Tensor:
        left, right = (factor.to(given.device, torch.float32) for factor in (change.left, change.right))
        return output + ((given.float() @ right.T) @ left.T).to(output.dtype)

    return hook
