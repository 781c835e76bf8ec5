"""What a real device refuses: operands of several devices, indices from elsewhere, float64 on some.

The rules are those that CUDA kernels check. A tensor without dimensions may come from the CPU, save as an index of the
operations in `STRICT`. Indices of `x[…]` may be on the CPU, and are copied then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.accelerator.meter import METER

#: `torch.device` itself, which is another thing while devices are pretended.
Device = torch.device
CPU = Device("cpu")
META = Device("meta")
#: Operations that take no operand from elsewhere, whatever its shape.
STRICT = {"gather", "index_select", "embedding", "take", "searchsorted", "bucketize"} | {
    f"{name}{end}" for name in ("scatter", "scatter_add", "index_add", "index_copy", "index_fill") for end in ("", "_")
}
#: Operations that are there to bring devices together.
FREE = {"copy_", "_to_copy", "set_", "is_same_size"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
#: Operations whose result has a shape, or is a number, that the host waits for.
WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount",
    "equal", "is_nonzero", "item", "linalg_eigh", "_linalg_eigh", "_linalg_svd", "linalg_qr", "_linalg_solve_ex",
}  # fmt: skip
#: Operations that run nothing on a device: those that only describe memory, and one that the host waits for instead.
IDLE = {"empty", "empty_like", "new_empty", "empty_strided", "detach", "alias", "lift_fresh", "_local_scalar_dense"}
#: Kinds of device that have no numbers of 64 bits with a fraction.
NARROW = {"mps"}
_BACKWARD = threading.local()


@cache
def name_of(func: Any) -> str:
    """`index_put_` for `aten::index_put_`."""
    return str(func._schema.name).partition("::")[2]


@cache
def computes(func: Any) -> bool:
    """Whether an operation runs a kernel: it writes memory, and does not only see it otherwise."""
    returned = func._schema.returns
    views = returned and all(each.alias_info is not None and not each.alias_info.is_write for each in returned)
    return not views and name_of(func) not in IDLE


def device_of(thing: object) -> Device | None:
    """The device that a word, a number or a device says; None for None.

    Raises:
        RuntimeError: this machine pretends to have fewer.
    """
    if thing is None:
        return None
    if isinstance(thing, bool):
        raise TypeError("a bool is no device")
    found = Device(METER.kind, thing) if isinstance(thing, int) else Device(str(thing))
    if found.type == "cpu":
        return CPU
    if found.type != METER.kind:
        return found
    if (found.index or 0) >= METER.count:
        raise RuntimeError("CUDA error: invalid device ordinal")
    return Device(METER.kind, found.index or 0)


@contextmanager
def going_back() -> Iterator[None]:
    """In the block gradients are computed. Zeros that autograd makes for itself have no claim, and are let pass."""
    _BACKWARD.on = True
    try:
        yield
    finally:
        _BACKWARD.on = False


def refuse_wide(dtype: torch.dtype, device: Device) -> None:
    if dtype == torch.float64 and device.type in NARROW:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")


def home_of_operation(name: str, tensors: Sequence[Tensor], args: Sequence[Any]) -> Device:
    """Where an operation computes.

    Raises:
        RuntimeError: its operands are on several devices.
    """
    _count_waits(name, args)
    if name in ("copy_", "set_"):
        return args[0].device
    if name in INDEXING:
        _check_indices(args[0], args[1])
        tensors = [args[0], *(args[2:3] if len(args) > 2 and isinstance(args[2], Tensor) else [])]
    if getattr(_BACKWARD, "on", False) and any(each.device.type == METER.kind for each in tensors):
        tensors = [each for each in tensors if each.device.type == METER.kind]
    homes = list(dict.fromkeys(each.device for each in tensors if _counts(each, name)))
    if len(homes) > 1 and name not in FREE:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {homes[0]} and {homes[1]}!"
            f" (in {name})"
        )
    home = homes[0] if homes else CPU
    if home != CPU and name.endswith("_") and args and isinstance(args[0], Tensor) and args[0].device == CPU:
        raise RuntimeError(f"output with device cpu doesn't match the desired device {home} (in {name})")
    return home


def _counts(operand: Tensor, name: str) -> bool:
    """Whether an operand says where an operation computes. A number from the CPU may come along."""
    if operand.device.type == "meta":
        return False
    return operand.device != CPU or operand.dim() > 0 or name in STRICT


def _check_indices(indexed: Tensor, indices: Sequence[Tensor | None]) -> None:
    for index in indices:
        if index is None:
            continue
        if index.device not in (CPU, indexed.device):
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor ({indexed.device})"
            )
        if index.device == CPU and indexed.device != CPU:
            METER.copy(f"indices to {indexed.device.type}")


def _count_waits(name: str, args: Sequence[Any]) -> None:
    if name in WAITING:
        METER.wait(name)
    elif name in INDEXING and any(each is not None and each.dtype == torch.bool for each in args[1]):
        METER.wait(f"{name} by a mask")
