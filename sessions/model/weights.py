"""Computes the weights of neurons: the columns they write with, and the rows they read with.

The modules compute them, so that Linear, GPT-2's Conv1D, quantised weights and projections wrapped by an adapter all
work alike. A column is the down projection of a unit vector. A row is the gradient of one output of a projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sessions.model.homes import home_of, weight_of

if TYPE_CHECKING:
    from sessions.model.sites import DenseSite, ExpertSite


def dense_columns(site: DenseSite, indices: Sequence[int]) -> Tensor:
    """The vector that a unit of each neuron adds to the output of the site's down projection, `[n, d_model]`.

    For a plain Linear in memory, these are columns of its weight.
    """
    if type(site.down) is nn.Linear and not site.down.weight.is_meta:
        return site.down.weight[:, list(indices)].T
    units = torch.zeros(len(indices), site.width)
    units[torch.arange(len(indices)), list(indices)] = 1
    return dense_written(site, units)


def dense_written(site: DenseSite, activations: Tensor) -> Tensor:
    """The sum, `[…, d_model]`, that activations `[…, width]` of the site add to its down projection's output."""
    rows = activations.reshape(-1, site.width).to(home_of(site.down), _dtype(site.down))
    nothing, added = site.down(torch.cat([torch.zeros_like(rows[:1]), rows])).split([1, len(rows)])
    return (added - nothing).reshape(*activations.shape[:-1], -1)  # the bias, if there is one, cancels


def expert_columns(site: ExpertSite, indices: Sequence[int]) -> Tensor:
    """The `dense_columns` of neurons of experts, `[n, d_model]`."""
    expert, coordinate = [index // site.d_expert for index in indices], [index % site.d_expert for index in indices]
    weights = weight_of(site.experts, "down_proj")
    transposed = getattr(site.experts, "is_transposed", False)
    return weights[expert, coordinate] if transposed else weights[expert, :, coordinate]


def dense_rows(site: DenseSite, index: int, d_model: int) -> dict[str, Tensor]:
    """The directions that neuron `index` of the site reads, `[d_model]` each: "gate" and "up", or "in"."""
    rows: dict[str, Tensor] = {}
    for kind, reader in site.readers:
        if kind == "gate and up":
            rows |= {"gate": _row(reader, index, d_model), "up": _row(reader, index + site.width, d_model)}
        else:
            rows[kind] = _row(reader, index, d_model)
    return rows


def expert_rows(site: ExpertSite, index: int) -> dict[str, Tensor]:
    """The `dense_rows` of one expert's neuron."""
    expert, coordinate = divmod(index, site.d_expert)
    weights = weight_of(site.experts, "gate_up_proj")[expert]
    rows = weights.T if getattr(site.experts, "is_transposed", False) else weights
    return {part: rows[line].detach() for part, line in gate_and_up(site, expert, coordinate).items()}


def gate_and_up(site: ExpertSite, expert: int, coordinate: int) -> dict[str, int]:
    """The numbers of a neuron's gate row and up row in an expert's fused projection.

    Families store gate and up rows in two halves or alternating, gate first. The gradient of the expert's gate function
    shows which two rows a neuron uses.
    """
    weights: Tensor = site.experts.gate_up_proj  # type: ignore[assignment]
    home = home_of(site.experts)
    with torch.inference_mode(False), torch.enable_grad():
        probe = torch.ones(1, 2 * site.d_expert, dtype=weights.dtype, device=home, requires_grad=True)
        own: Any = type(site.experts)._apply_gate  # type: ignore[attr-defined]  # a hooked instance would expect a routing
        value = own(site.experts, probe)[0, coordinate]
        (gradient,) = torch.autograd.grad(value, probe)
    gate, up = gradient[0].nonzero()[:, 0].tolist()
    return {"gate": gate, "up": up}


def _row(projection: nn.Module, index: int, d_model: int) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        probe = torch.zeros(1, d_model, dtype=_dtype(projection), device=home_of(projection), requires_grad=True)
        (row,) = torch.autograd.grad(projection(probe)[0, index], probe)
    return row[0]


def _dtype(projection: nn.Module) -> torch.dtype:
    """The dtype of a projection's input; packed weights take the default float dtype."""
    dtype = next(projection.parameters()).dtype
    return dtype if dtype.is_floating_point else torch.get_default_dtype()
