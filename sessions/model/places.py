"""Places: where the numbers of a neuron, or of a whole matrix, lie in memory, to be read and written there.

`weights` asks a module what a neuron reads and writes, which works on weights of any make. To change them, one has to
know where they are. A neuron has a row in each projection it is read with and a column in the down projection; GPT-2's
Conv1D stores the transpose, some families fuse gate and up into one matrix, and experts are slices of 3-D parameters.
A `WeightSlice` hides all that: a matrix `[out, in]`, a view on the memory of the parameter, and which lines of it.
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
from sessions.model.parts import Anatomy, DenseSite, ExpertSite
from sessions.model.weights import gate_and_up

#: What a neuron is made of: the rows it reads with ("gate" and "up", or "in" and its "bias" where there is no gate),
#: and the column it writes with.
Part = Literal["gate", "up", "in", "bias", "down"]
PARTS: tuple[Part, ...] = get_args(Part)
#: Matrices that write to the residual stream: the down projections of a layer's MLP, the output of its attention.
Writer = Literal["down", "attn_out"]


@dataclass(frozen=True)
class WeightSlice:
    """Lines of a matrix `[out, in]`: rows (axis 0), columns (axis 1), or, without numbers, all of it.

    Of a bias, `matrix` is `[out, 1]`. What is read and written is `[n, …]`, a line each; all of it as it lies there.
    """

    matrix: Tensor
    axis: int = 0
    numbers: tuple[int, ...] | None = None

    def read(self) -> Tensor:
        """A copy of the numbers, in the dtype and on the device of the weights."""
        if self.numbers is None:
            return self.matrix.detach().clone()
        lines = self.matrix.detach().index_select(self.axis, self._index())
        return lines if self.axis == 0 else lines.T.contiguous()

    @torch.no_grad()
    def write(self, values: Tensor) -> None:
        """Put numbers there, `[n, …]` as `read` gives them, cast to the dtype of the weights."""
        cast = values.to(self.matrix.device, self.matrix.dtype)
        if self.numbers is None:
            self.matrix.copy_(cast)
        else:
            self.matrix.index_copy_(self.axis, self._index(), cast if self.axis == 0 else cast.T)

    def _index(self) -> Tensor:
        return torch.tensor(self.numbers, device=self.matrix.device)


def parts_of(anatomy: Anatomy, layer: int, index: int) -> tuple[Part, ...]:
    """The parts of a neuron, those it reads with first.

    Raises:
        UsageError: there is no such neuron.
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
    """Where one part of some neurons of a layer lies: places, and to each which of `indices` it holds, in order.

    One place, but for neurons of several experts.

    Raises:
        UsageError: there is no such neuron, or it has no such part.
        ModelError: the weights are packed, or not in memory.
    """
    found: dict[object, tuple[Tensor, int, list[int], list[int]]] = {}
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
        _, _, lines, numbers = found.setdefault(key, (matrix, axis, [], []))
        lines.append(line)
        numbers.append(number)
    return [
        (WeightSlice(matrix, axis, tuple(lines)), tuple(numbers)) for matrix, axis, lines, numbers in found.values()
    ]


def part_module(anatomy: Anatomy, layer: int, part: Part, index: int) -> tuple[nn.Module, int]:
    """The projection that a part of a neuron is a line of, and which: a row, or of the down projection a column.

    Raises:
        UsageError: there is no such neuron, or it has no such part.
        ModelError: it is a neuron of an expert, which has no projection of its own.
    """
    if part not in parts_of(anatomy, layer, index):
        raise UsageError(f"a neuron of layer {layer} has no {part}", _has(anatomy, layer, index))
    site, local = anatomy.site_of(layer, index)
    if isinstance(site, ExpertSite):
        raise ModelError(f"L{layer}/N{index} is a neuron of an expert, and its rows are not a module's weight", "")
    module, line = _module_in(site, part, local)
    return plain(module), line


def writer_modules(anatomy: Anatomy, layer: int, writer: Writer) -> list[nn.Module]:
    """The modules of `writer_places`.

    Raises:
        UsageError: there is no such layer.
        ModelError: there is no such module, or the layer has experts.
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
        UsageError: there is no such layer.
        ModelError: there is no one such matrix, or it is packed or not in memory.
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
            places += [WeightSlice(_expert_matrix(site, "down_proj", each, layer)) for each in range(site.n_experts)]
    return places


def module_place(model: nn.Module, name: str) -> WeightSlice:
    """The weight of a projection by its name in the model, `model.layers.3.self_attn.q_proj`.

    Raises:
        ModelError: there is no such projection, or its weight is packed or not in memory.
    """
    return WeightSlice(matrix_of(module_named(model, name), name))


def module_named(model: nn.Module, name: str) -> nn.Module:
    """The module of that name in the model.

    Raises:
        ModelError: there is none.
    """
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"this model has no projection '{name[:80]}'", "open the model it was made on") from error


def plain(module: nn.Module) -> nn.Module:
    """The module itself, or the one that an adapter has wrapped."""
    return getattr(module, "base_layer", module)


def tied_with(model: nn.Module, name: str) -> tuple[str, ...]:
    """Other modules, by name, whose weight is the same memory as that of module `name`: an output embedding that is the
    input embedding, mostly."""
    weight = getattr(plain(module_named(model, name)), "weight", None)
    found = (
        other.removesuffix(".weight")
        for other, parameter in model.named_parameters(remove_duplicate=False)
        if parameter is weight
    )
    return tuple(other for other in found if other.removesuffix(".base_layer") != name)


def unembedding(anatomy: Anatomy, ids: Sequence[int]) -> Tensor:
    """The rows of the unembedding for some tokens, `[n, d_model]`, copied to the CPU in float32.

    Raises:
        ModelError: it is packed.
    """
    return matrix_of(anatomy.head, "the unembedding", read_only=True)[list(ids)].detach().float().cpu()


def matrix_of(module: nn.Module, what: str, *, read_only: bool = False) -> Tensor:
    """The weight of a projection as `[out, in]`, a view on its memory; of one an adapter wraps, the one inside.

    To be read only, offloaded weights are brought from where they lie.

    Raises:
        ModelError: it is packed, or not in memory; `what` is how the message names it.
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
    """The matrix of a part, whether the neuron is a row (0) or a column (1) of it, and which."""
    module, line = _module_in(site, part, local)
    if part == "down":
        return matrix_of(module, f"layer {layer}'s down projection"), 1, line
    if part == "bias":
        bias: Tensor = plain(module).bias  # type: ignore[assignment]
        _check_there(bias, f"layer {layer}'s bias")
        return bias.data[:, None], 0, line
    return matrix_of(module, f"layer {layer}'s {part} projection"), 0, line


def _module_in(site: DenseSite, part: Part, local: int) -> tuple[nn.Module, int]:
    """The projection that a part is a line of, and which."""
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
    """The norm between a writer and the residual stream; None where there is none."""
    parts = anatomy.layers[layer]
    if writer == "down":
        return parts.write_norm
    return None if parts.attention_writer is parts.attention_output else parts.attention_writer
