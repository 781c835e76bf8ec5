"""Tensors whose numbers lie in the memory of the CPU and which say that they are on another device.

A `Claimed` tensor shares the storage of a CPU tensor. Below Python it is one: kernels, autograd, vmap and views are
torch's own, and so are all bits. Above, `device` is what it claims, and `__torch_dispatch__` sees every operation: it
refuses what a device would refuse (see `rules`) and gives the claim on to what comes out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.accelerator.meter import METER
from tests.accelerator.rules import CPU, Device, computes, device_of, home_of_operation, name_of, refuse_wide


class Claimed(Tensor):
    """A tensor of the CPU that claims a device. Made by `claimed`, never by its class."""

    _claim: Device
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __new__(cls, data: Tensor, requires_grad: bool = True) -> Tensor:  # type: ignore[misc]
        # Code that makes a parameter like another asks the other for its class.
        return torch.nn.Parameter(data, requires_grad)

    @property
    def device(self) -> Device:  # type: ignore[override]
        return self._claim

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return self._claim.type == "cuda"

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    @property
    def data(self) -> Tensor:
        return claimed(Tensor.detach(self), self._claim)

    @data.setter
    def data(self, other: Tensor) -> None:
        Tensor.data.__set__(self, other if isinstance(other, Claimed) else claimed(other, self._claim))  # type: ignore[attr-defined]
        self._claim = other.device

    def get_device(self) -> int:
        return self._claim.index or 0

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            f"can't convert {self._claim} device type tensor to numpy."
            " Use Tensor.cpu() to copy the tensor to host memory first."
        )

    def __array__(self, dtype: object = None) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        METER.wait("tolist")
        return copied(self.detach(), CPU).tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            made = self.detach().clone().requires_grad_(self.requires_grad)
            memo[id(self)] = torch.nn.Parameter(made, self.requires_grad) if hasattr(self, "_is_param") else made
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().cpu().__reduce_ex__(protocol)

    def __repr__(self, **_: object) -> str:  # type: ignore[override]
        return f"Claimed({self.detach().cpu()}, {self._claim})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), spec)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        words = dict(kwargs or {})
        tensors = list(_tensors(args)) + list(_tensors(words.values()))
        home = home_of_operation(name_of(func), tensors, args)
        if home != CPU and computes(func):
            METER.kernel(name_of(func))
        asked = words.get("device")
        if asked is not None and asked.type == METER.kind:
            words["device"] = CPU
        with torch._C._DisableTorchDispatch():
            out = func(*args, **words)
        return _onto(out, home, {id(each) for each in tensors})


def claimed(data: Tensor, device: Device) -> Tensor:
    """The same memory, said to be on `device`."""
    if device in (CPU, torch.device("meta")) or data.is_meta:
        return data
    refuse_wide(data.dtype, device)
    made: Claimed = Tensor._make_subclass(Claimed, data)
    made._claim = device
    METER.hold(made, device)
    return made


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among the operands of an operation, which are in lists at most."""
    for each in values:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, list | tuple):
            yield from (one for one in each if isinstance(one, Tensor))


def _onto(out: Any, device: Device, known: Collection[int] = ()) -> Any:
    """What an operation returned, on its device, but for tensors that were there before, known by their `id`."""
    if isinstance(out, Tensor):
        return out if isinstance(out, Claimed) or id(out) in known else claimed(out, device)
    if isinstance(out, list | tuple):
        return type(out)(_onto(each, device, known) for each in out)
    return out


class _Arriving(TorchDispatchMode):
    """What is computed in the block is on this device, whatever it is computed of."""

    def __init__(self, device: Device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device

    def __torch_dispatch__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with torch._C._DisableTorchDispatch():
            return _onto(func(*args, **(kwargs or {})), self.device)


def copied(x: Tensor, device: Device) -> Tensor:
    """A copy of the numbers on a device, outside any graph and any count."""
    with _Arriving(device):
        return torch.ops.aten.clone.default(x)


class _Moving(torch.autograd.Function):
    """A copy to another device; its gradient comes back to where it was."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, device: Device) -> Tensor:
        return copied(x, device)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.home = inputs[0].device

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return copied(gradient, ctx.home), None


def moved(x: Tensor, device: Device, without_waiting: bool = False) -> Tensor:
    """A tensor on another device: itself where it is there, else a copy that gradients find their way back from."""
    if x.device == device:
        return x
    if x.is_meta:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    METER.copy(f"{x.device.type} to {device.type}")
    if device == CPU and not without_waiting:
        METER.wait("a copy to the host")
    if x.requires_grad and torch.is_grad_enabled():
        return _Moving.apply(x, device)  # type: ignore[no-untyped-call]
    return copied(x.detach(), device)


class Generator(torch.Generator):
    """A generator that claims a device. Its numbers are the CPU's."""

    claim: Device

    def __new__(cls, device: Any = None) -> Generator:
        made = super().__new__(cls)
        made.claim = device_of(device) or CPU
        return made

    @property
    def device(self) -> Device:  # type: ignore[override]
        return self.claim
