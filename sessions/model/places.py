"""Finds the weights of a neuron, or a whole weight matrix, in memory, to read and write them in place.

`weights` computes what a neuron reads and writes through its modules, which works for weights of any storage. To change
weights, one needs their place in memory. A neuron has a row in each projection it reads with, and a column in the down
projection. GPT-2's Conv1D stores the transpose, some families fuse gate and up into one matrix, and experts are slices
of 3-D parameters. `WeightSlice` hides these differences: it is a matrix `[out, in]`, a view of the parameter's memory,
with the numbers of some rows or columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from sessions.errors import ModelError, UsageError
from sessions.model.homes import weight_of
from sessions.model.parts import Anatomy
from sessions.model.sites import DenseSite, ExpertSite
from sessions.model.weights import gate_and_up

#: The parts of a neuron: the rows it reads with ("gate" and "up", or without a gate "in" and its "bias"), and the
#: column it writes with.
Part = Literal["gate", "up", "in", "bias", "down"]
PARTS: tuple[Part, ...] = get_args(Part)
#: Matrices that write to the residual stream: the down projections of a layer's MLP, the output of its attention.
Writer = Literal["down", "attn_out"]


@dataclass(frozen=True)
class WeightSlice:
    """Some rows (axis 0) or columns (axis 1) of a matrix `[out, in]`; without `numbers`, the whole matrix.

    `matrix` is `[out, 1]` for a bias. `read` and `write` take `[n, …]`, a row or column each, or the whole matrix as
    it is stored.
    """

    matrix: Tensor
    axis: int = 0
    numbers: tuple[int, ...] | None = None

    def read(self) -> Tensor:
        """A copy of the weights, in their dtype and on their device."""
        if self.numbers is None:
            return self.matrix.detach().clone()
        lines = self.matrix.detach().index_select(self.axis, self._index())
        return lines if self.axis == 0 else lines.T.contiguous()

    @torch.no_grad()
    def write(self, values: Tensor) -> None:
        """Overwrite the weights with `values`, in the shape that `read` returns, cast to their dtype."""
        cast = values.to(self.matrix.device, self.matrix.dtype)
        if self.numbers is None:
            self.matrix.copy_(cast)
        else:
            self.matrix.index_copy_(self.axis, self._index(), cast if self.axis == 0 else cast.T)

    def _index(self) -> Tensor:
        return torch.tensor(self.numbers, device=self.matrix.device)


def parts_of(anatomy: Anatomy, layer: int, index: int) -> tuple[Part, ...]:
    """The names of a neuron's parts, those it reads with first.

    Raises:
        UsageError: the model has no such neuron.
    """
    site, _ = anatomy.site_of(layer, index)
    if isinstance(site, ExpertSite):
        return ("gate", "up", "down")
    kinds = [kind for kind, _ in site.readers]
    if "gate and up" in kinds or {"gate", "up"} <= set(kinds):
        return ("gate", "up", "down")
    reader = dict(site.readers).get("in")
    if reader is None:
        return ("down",)
    return ("in", "bias", "down") if getattr(plain(reader), "bias", None) is not None else ("in", "down")


def neuron_places(
    anatomy: Anatomy, layer: int, part: Part, indices: Sequence[int]
) -> list[tuple[WeightSlice, tuple[int, ...]]]:
    """The weights of one part of some neurons of a layer: slices, each with the positions in `indices` that it holds.

    Neurons of one expert, or of a dense MLP, share one slice.

    Raises:
        UsageError: the model has no such neuron, or the neuron has no such part.
        ModelError: the weights are packed, or not in memory.
    """
    by_matrix: dict[object, tuple[Tensor, int, list[int], list[int]]] = {}
    for number, index in enumerate(indices):
        if part not in parts_of(anatomy, layer, index):
            raise UsageError(f"a neuron of layer {layer} has no {part}", _has(anatomy, layer, index))
        site, local = anatomy.site_of(layer, index)
        if isinstance(site, ExpertSite):
            key: object = (id(site), local // site.d_expert)
            matrix, axis, line = _in_expert(site, part, local, layer)
        else:
            key = id(site)
            matrix, axis, line = _in_dense(site, part, local, layer)
        _, _, lines, numbers = by_matrix.setdefault(key, (matrix, axis, [], []))
        lines.append(line)
        numbers.append(number)
    return [
        (WeightSlice(matrix, axis, tuple(lines)), tuple(numbers)) for matrix, axis, lines, numbers in by_matrix.values()
    ]


def part_module(anatomy: Anatomy, layer: int, part: Part, index: int) -> tuple[nn.Module, int]:
    """The projection of a neuron's part, and the number of its row; of the down projection, of its column.

    Raises:
        UsageError: the model has no such neuron, or the neuron has no such part.
        ModelError: the neuron belongs to an expert, which has no projection modules.
    """
    if part not in parts_of(anatomy, layer, index):
        raise UsageError(f"a neuron of layer {layer} has no {part}", _has(anatomy, layer, index))
    site, local = anatomy.site_of(layer, index)
    if isinstance(site, ExpertSite):
        raise ModelError(f"L{layer}/N{index} is a neuron of an expert, and its rows are not a module's weight", "")
    module, line = _module_in(site, part, local)
    return plain(module), line


def writer_modules(anatomy: Anatomy, layer: int, writer: Writer) -> list[nn.Module]:
    """The modules whose weights `writer_places` finds.

    Raises:
        UsageError: the model has no such layer.
        ModelError: the layer has no such module, or has experts.
    """
    writer_places(anatomy, layer, writer)
    parts = anatomy.layers[layer]
    if writer == "attn_out":
        assert parts.attention_output is not None
        return [plain(parts.attention_output)]
    if any(isinstance(site, ExpertSite) for site in parts.sites):
        raise ModelError(f"layer {layer} has experts, and their matrices are not a module's weight", "")
    return [plain(site.down) for site in parts.sites if isinstance(site, DenseSite)]


def writer_places(anatomy: Anatomy, layer: int, writer: Writer) -> list[WeightSlice]:
    """The matrices `[d_model, in]` with which a layer's MLP, or its attention, writes to the residual stream.

    Raises:
        UsageError: the model has no such layer.
        ModelError: the attention has not exactly one such matrix, or a matrix is packed or not in memory.
    """
    anatomy.check_layer(layer)
    parts = anatomy.layers[layer]
    if writer == "attn_out":
        module = parts.attention_output
        if module is None:
            raise ModelError(f"layer {layer} has no one projection that its attention writes with", "leave it out")
        return [WeightSlice(matrix_of(module, f"layer {layer}'s attention output"))]
    places = []
    for site in parts.sites:
        if isinstance(site, DenseSite):
            places.append(WeightSlice(matrix_of(site.down, f"layer {layer}'s down projection")))
        else:
            experts = range(site.n_experts)
            places += [WeightSlice(_expert_matrix(site, "down_proj", expert, layer)) for expert in experts]
    return places


def module_place(model: nn.Module, name: str) -> WeightSlice:
    """The weight of the projection with this name in the model, such as `model.layers.3.self_attn.q_proj`.

    Raises:
        ModelError: the model has no such projection, or its weight is packed or not in memory.
    """
    return WeightSlice(matrix_of(module_named(model, name), name))


def module_named(model: nn.Module, name: str) -> nn.Module:
    """The module with this name in the model.

    Raises:
        ModelError: the model has no such module.
    """
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"this model has no projection '{name[:80]}'", "open the model it was made on") from error


def plain(module: nn.Module) -> nn.Module:
    """The module itself, or the one that an adapter has wrapped."""
    return getattr(module, "base_layer", module)


def tied_with(model: nn.Module, name: str) -> tuple[str, ...]:
    """The names of other modules that share the weight of module `name`, such as tied embeddings."""
    weight = getattr(plain(module_named(model, name)), "weight", None)
    owners = (
        owner.removesuffix(".weight")
        for owner, parameter in model.named_parameters(remove_duplicate=False)
        if parameter is weight
    )
    return tuple(owner for owner in owners if owner.removesuffix(".base_layer") != name)


def unembedding(anatomy: Anatomy, ids: Sequence[int]) -> Tensor:
    """The rows of the unembedding for some tokens, `[n, d_model]`, copied to the CPU in float32.

    Raises:
        ModelError: the unembedding is packed.
    """
    return matrix_of(anatomy.head, "the unembedding", read_only=True)[list(ids)].detach().float().cpu()


def matrix_of(module: nn.Module, what: str, *, read_only: bool = False) -> Tensor:
    """A projection's weight as `[out, in]`, a view of its memory; for an adapter's wrapper, the weight inside it.

    Args:
        what: the name of the projection in messages.
        read_only: load an offloaded weight instead of refusing it.

    Raises:
        ModelError: the weight is packed, or not in memory.
    """
    inner = plain(module)
    weight = getattr(inner, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise ModelError(f"{what} has no matrix of weights: it is a {type(inner).__name__}", _DENSE)
    if not weight.dtype.is_floating_point or not isinstance(inner, nn.Linear | nn.Embedding | Conv1D):
        raise ModelError(f"{what} is packed ({type(inner).__name__}, {weight.dtype}): it cannot be edited", _DENSE)
    if read_only:
        weight = weight_of(inner, "weight")
    _check_there(weight, what)
    return weight.data.T if isinstance(inner, Conv1D) else weight.data


_DENSE = "open the model without quantisation, in float32, bfloat16 or float16"


def _check_there(weight: Tensor, what: str) -> None:
    if weight.is_meta:
        raise ModelError(f"{what} is not in memory: it is offloaded", "open the model on a device that holds it")


def _in_dense(site: DenseSite, part: Part, local: int, layer: int) -> tuple[Tensor, int, int]:
    """The matrix of a part, the axis of the neuron (0 a row, 1 a column), and its number on that axis."""
    module, line = _module_in(site, part, local)
    if part == "down":
        return matrix_of(module, f"layer {layer}'s down projection"), 1, line
    if part == "bias":
        bias: Tensor = plain(module).bias  # type: ignore[assignment]
        _check_there(bias, f"layer {layer}'s bias")
        return bias.data[:, None], 0, line
    return matrix_of(module, f"layer {layer}'s {part} projection"), 0, line


def _module_in(site: DenseSite, part: Part, local: int) -> tuple[nn.Module, int]:
    """The projection of a part, and the number of its row or column."""
    readers = dict(site.readers)
    if part == "down":
        return site.down, local
    if part == "bias":
        return readers["in"], local
    fused = readers.get("gate and up")
    if fused is not None:
        return fused, local if part == "gate" else local + site.width
    return readers[part], local


def _in_expert(site: ExpertSite, part: Part, local: int, layer: int) -> tuple[Tensor, int, int]:
    expert, coordinate = divmod(local, site.d_expert)
    if part == "down":
        return _expert_matrix(site, "down_proj", expert, layer), 1, coordinate
    return _expert_matrix(site, "gate_up_proj", expert, layer), 0, gate_and_up(site, expert, coordinate)[part]


def _expert_matrix(site: ExpertSite, name: str, expert: int, layer: int) -> Tensor:
    weights: Tensor = getattr(site.experts, name)
    what = f"layer {layer}'s experts"
    if not weights.dtype.is_floating_point or weights.ndim != 3:
        raise ModelError(f"{what} are packed ({type(site.experts).__name__}, {weights.dtype})", _DENSE)
    _check_there(weights, what)
    return weights.data[expert].T if getattr(site.experts, "is_transposed", False) else weights.data[expert]


def _has(anatomy: Anatomy, layer: int, index: int) -> str:
    return f"it has: {', '.join(parts_of(anatomy, layer, index))}"


def norm_behind(anatomy: Anatomy, layer: int, writer: Writer) -> nn.Module | None:
    """The norm between a writer and the residual stream; None if there is none."""
    parts = anatomy.layers[layer]
    if writer == "down":
        return parts.write_norm
    return None if parts.attention_writer is parts.attention_output else parts.attention_writer
