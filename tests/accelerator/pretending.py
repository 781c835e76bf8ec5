"""A machine with accelerators, pretended: what makes, moves and describes tensors is exchanged while a block runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._device import _device_constructors

from tests.accelerator.claimed import Claimed, Generator, claimed, copied, moved
from tests.accelerator.meter import METER, Meter
from tests.accelerator.rules import CPU, Device, device_of, going_back

#: Constructors that copy what they are given.
_COPYING = ("tensor", "as_tensor", "asarray")
_LIKES = ("empty", "zeros", "ones", "full", "rand", "randn", "randint")
_DRAWING = ("multinomial", "uniform_", "normal_", "random_", "exponential_", "bernoulli_")


@contextmanager
def pretended(devices: int = 2, *, memory: int = 80 * 2**30, kind: str = "cuda") -> Iterator[Meter]:
    """In the block this machine has so many devices of a kind ("cuda", "mps"), of so many bytes each.

    It holds in all threads. What is left over of the devices when it ends is of no use any more.
    """
    METER.begin(kind, devices, memory)
    with ExitStack() as stack:

        def exchange(owner: object, name: str, new: object) -> None:
            stack.enter_context(mock.patch.object(owner, name, new))

        for name in _makers():
            exchange(torch, name, _constructor(getattr(torch, name)))
        for name, new in _methods().items():
            exchange(Tensor, name, new)
        for name in _DRAWING:
            exchange(Tensor, name, _drawing(getattr(Tensor, name)))
        for name in ("multinomial", "bernoulli", "normal"):
            exchange(torch, name, _drawing(getattr(torch, name)))
        exchange(torch, "histc", _histc(torch.histc))
        exchange(torch.autograd, "grad", _grad(torch.autograd.grad))
        exchange(torch.autograd, "backward", _backward(torch.autograd.backward))
        exchange(torch, "Generator", Generator)
        exchange(torch, "device", _Device)
        # A module that moves keeps its parameters, as on a real device, and what was tied stays so.
        exchange(torch.__future__, "get_swap_module_params_on_conversion", lambda: True)
        for owner, answers in _answers().items():
            for name, new in answers.items():
                exchange(owner, name, new)
        yield METER


# Making tensors


def _makers() -> list[str]:
    """The names in `torch` of the functions that make a tensor."""
    makers = [*_device_constructors(), *(getattr(torch, f"{name}_like") for name in _LIKES)]
    names = dict.fromkeys(each.__name__ for each in makers)
    return [name for name in names if any(getattr(torch, name, None) is each for each in makers)]


def _constructor(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A constructor that knows the pretended devices: it makes the numbers on the CPU and copies them."""
    name = original.__name__

    def made(*args: Any, **kwargs: Any) -> Tensor:
        kwargs.pop("pin_memory", None)
        device = device_of(kwargs.pop("device", None))
        source = next((each for each in args if isinstance(each, Claimed)), None)
        at = device if device is not None else CPU if source is None else source.device
        _check_generator(kwargs.get("generator"), at)
        if at.type != METER.kind and source is None:
            return original(*args, **({} if device is None else {"device": device}), **kwargs)
        if at.type not in ("cpu", METER.kind):
            return original(*args, device=at, **kwargs)
        gradient = kwargs.pop("requires_grad", False)
        out = original(*args, device=CPU, **kwargs)
        if out.device != at:
            if name in _COPYING:
                METER.copy(f"made on the host, to {at.type}")
            elif not name.startswith("empty"):
                METER.kernel(name)
            out = copied(out.detach(), at)
        return out.requires_grad_() if gradient else out

    made.__name__ = name
    return made


def _new(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`x.new_zeros` and its kin: on the device of x unless another is named."""

    def new(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        device = device_of(kwargs.pop("device", None)) or self.device
        gradient = kwargs.pop("requires_grad", False)
        if original.__name__ == "new_tensor":
            made = moved(torch.tensor(*args, **{"dtype": self.dtype, **kwargs}), device)
        else:
            made = original(self, *args, **kwargs)
            made = made if made.device == device else copied(made, device)
        return made.requires_grad_() if gradient else made

    return new


def _check_generator(generator: object, at: Device) -> None:
    kind = getattr(generator, "claim", CPU).type
    if generator is not None and kind != at.type:
        raise RuntimeError(f"Expected a '{at.type}' device type for generator but found '{kind}'")


def _drawing(original: Callable[..., Any]) -> Callable[..., Any]:
    def drawn(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(tensor, Tensor):
            _check_generator(kwargs.get("generator"), tensor.device)
        return original(tensor, *args, **kwargs)

    return drawn


# Moving tensors


def _methods() -> dict[str, Callable[..., Any]]:
    news = ("new_tensor", "new_zeros", "new_ones", "new_full", "new_empty")
    return {
        "to": _to(Tensor.to),
        "cuda": lambda self, device=None, non_blocking=False: self.to(device_of(device or 0), non_blocking),
        "cpu": lambda self, **_: moved(self, CPU),
        "type_as": lambda self, other: self.to(other),
        "pin_memory": lambda self, *_: self,
        **{name: _new(getattr(Tensor, name)) for name in news},
    }


def _to(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        device, dtype, without_waiting = _wanted(args, kwargs)
        layout = {"memory_format": kwargs["memory_format"]} if "memory_format" in kwargs else {}
        if device is not None and device.type not in ("cpu", METER.kind):
            return original(self, *args, **kwargs)
        if device is not None and device.type == METER.kind and dtype is None:
            return moved(self, device, without_waiting)
        cast = self if dtype is None or dtype == self.dtype else original(self, dtype, **layout)
        if device is not None and device != self.device:
            return moved(cast, device, without_waiting)
        again = kwargs.get("copy", False) and cast is self
        return original(cast, dtype=cast.dtype, copy=again, **layout) if again or layout else cast

    return to


def _wanted(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Device | None, torch.dtype | None, bool]:
    """What the arguments of `to` ask for, in whatever order and by whatever names."""
    device, dtype, without_waiting = None, None, bool(kwargs.get("non_blocking", False))
    for each in (*args, *(kwargs.get(name) for name in ("device", "dtype", "other"))):
        if isinstance(each, Tensor):
            device, dtype = each.device, each.dtype
        elif isinstance(each, torch.dtype):
            dtype = each
        elif isinstance(each, bool):
            without_waiting = each
        elif isinstance(each, str | Device | int):
            device = device_of(each)
    return device, dtype, without_waiting


# Differentiating


def _grad(original: Callable[..., Any]) -> Callable[..., Any]:
    def grad(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        with going_back():
            found = original(outputs, wanted, *args, **kwargs)
        pairs = zip(found, wanted, strict=True)
        return tuple(
            each if each is None or isinstance(each, Claimed) else claimed(each, x.device) for each, x in pairs
        )

    return grad


def _backward(original: Callable[..., Any]) -> Callable[..., Any]:
    def backward(*args: Any, **kwargs: Any) -> Any:
        with going_back():
            return original(*args, **kwargs)

    return backward


# Describing the machine


class _Kinds(type):
    """`torch.device`, for which a number is one of the pretended devices."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Device:
        return Device(*((METER.kind, *args) if args and isinstance(args[0], int) else args), **kwargs)

    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, Device)


class _Device(metaclass=_Kinds):
    """Stands where `torch.device` stood."""


def _histc(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Devices count whole numbers too, which the CPU does not."""

    def histc(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return original(x if x.is_floating_point() else x.float(), *args, **kwargs).to(x.dtype)

    return histc


class _Event:
    """A point in what a device was sent, for which the host can wait."""

    def record(self, stream: object = None) -> None:
        """Put it behind everything that the device has been sent so far."""

    def synchronize(self) -> None:
        METER.wait("an event")


def _answers() -> dict[object, dict[str, Callable[..., Any]]]:
    """What torch says about the devices of this machine."""
    there = METER.kind == "cuda"
    properties = SimpleNamespace(
        name="pretended", major=9, minor=0, multi_processor_count=132, warp_size=32, total_memory=METER.capacity
    )

    def held(device: Any = None) -> int:
        return METER.held[device_of(device if device is not None else 0) or CPU]

    cuda: dict[str, Callable[..., Any]] = {
        "is_available": lambda: there,
        "is_initialized": lambda: there,
        "_lazy_init": lambda: None,
        "init": lambda: None,
        "device_count": lambda: METER.count if there else 0,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: METER.wait("synchronize"),
        "empty_cache": lambda: None,
        "mem_get_info": lambda device=None: (METER.capacity - held(device), METER.capacity),
        "memory_allocated": held,
        "memory_reserved": held,
        "max_memory_allocated": lambda device=None: METER.peak[device_of(device or 0) or CPU],
        "reset_peak_memory_stats": lambda device=None: METER.clear(),
        "get_device_name": lambda device=None: "pretended",
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_properties": lambda device=None: properties,
        "is_bf16_supported": lambda *_, **__: True,
        "get_rng_state_all": lambda: [torch.get_rng_state()],
        "manual_seed_all": lambda seed: None,
        "manual_seed": lambda seed: None,
        "current_stream": lambda device=None: None,
        "Event": _Event,
    }
    return {torch.cuda: cuda, torch.backends.mps: {"is_available": lambda: METER.kind == "mps"}}
