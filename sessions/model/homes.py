"""On which device a module computes, and where its weights are.

The layers of a model may be on several devices; each layer moves its inputs to its own. Some weights may be offloaded
by accelerate: they are in the memory of the host or in files, are copied to a device for each call of their module, and
are empty tensors on `meta` in between. So no code takes a device or a number from a weight directly: it asks here.

A backward pass needs every weight of the forward pass, so all offloaded weights would have to fit on the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sessions.errors import ModelError
from sessions.memory import amount

CPU, META = torch.device("cpu"), torch.device("meta")
#: Kinds of device without float64.
NARROW = frozenset({"mps"})


def home_of(module: nn.Module) -> torch.device:
    """The device that a module computes on. For a module without weights, which computes anywhere, the CPU."""
    weight = next(module.parameters(), None)
    if weight is not None and not weight.is_meta:
        return weight.device
    devices = (_execution_device(hook) for inner in module.modules() for hook in _hooks(inner))
    home = next((device for device in devices if device is not None), None)
    if home is None:
        return CPU if weight is None else META
    return torch.device(home)


def weight_of(module: nn.Module, name: str) -> Tensor:
    """A weight of a module, or of one within it (`layers.3.norm.weight`), with its numbers: one that is offloaded is
    brought to where its module computes.

    Raises:
        AttributeError: there is none of that name.
        ModelError: its numbers are nowhere.
    """
    parent, _, name = name.rpartition(".")
    module = module.get_submodule(parent)
    weight: Tensor = getattr(module, name)
    if not weight.is_meta:
        return weight
    # Accelerate keeps weights by the names that they have in the module with its hook.
    for hook in _hooks(module):
        kept: Mapping[str, Tensor] | None = getattr(hook, "weights_map", None)
        if kept is not None and name in kept:
            return kept[name].to(home_of(module), weight.dtype)
    raise ModelError(f"{name} of {type(module).__name__} is not in memory", "open the model on a device that holds it")


def devices_of(model: nn.Module) -> list[torch.device]:
    """The devices that the weights of a model are on, each once."""
    return list(dict.fromkeys(weight.device for weight in model.parameters() if not weight.is_meta))


def widest(device: torch.device) -> torch.dtype:
    """The dtype for sums that have to be exact: float64, where the device has it."""
    return torch.float32 if device.type in NARROW else torch.float64


def offloaded(modules: Iterable[nn.Module]) -> dict[torch.device, int]:
    """The bytes of offloaded weights of some modules, by the device that they are copied to."""
    sizes: Counter[torch.device] = Counter()
    for module in modules:
        for name, weight in module.named_parameters():
            if weight.is_meta:
                sizes[home_of(module.get_submodule(name.rpartition(".")[0]))] += weight.nbytes
    return dict(sizes)


def refuse_offloaded(model: nn.Module, what: str) -> None:
    """Raise `ModelError`, naming a weight, if some weights of the model are offloaded: `what` needs all in memory."""
    name = next((name for name, weight in model.named_parameters() if weight.is_meta), None)
    if name is not None:
        raise ModelError(
            f"{what} needs all weights in memory, and {name} is offloaded",
            "open the model on a device that holds it, or with --dtype bfloat16",
        )


def refuse_split(model: nn.Module) -> None:
    """Raise `ModelError` if weights are split over several processes (a DTensor: tensor parallel, FSDP).

    A hook there would see only some of the neurons, without notice.
    """
    name = next((name for name, weight in model.named_parameters() if hasattr(weight, "placements")), None)
    if name is not None:
        raise ModelError(
            f"{name} is split over several processes (tensor parallel): each of them sees a part of the neurons",
            "open the model in one process; --device-map auto spreads whole layers over its devices",
        )


def check_room(modules: Iterable[nn.Module], what: str) -> None:
    """Raise `ModelError` if a backward pass would need more offloaded weights than fit on a device."""
    for device, size in offloaded(modules).items():
        free = free_memory(device)
        if free is not None and size > free:
            raise ModelError(
                f"{what} needs gradients, which bring all offloaded weights back to {device}: {amount(size)},"
                f" and {amount(free)} are free",
                "discover --method exact --layers FIRST-LAST --keep-universal needs none, nor do top, verify, ablate"
                " and sweep",
            )


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device, or in the memory of the host; None if unknown."""
    if device.type == "cuda":
        reserved, used = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reserved - used)
    if device.type != "cpu":
        return None
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            available = next((line for line in lines if line.startswith("MemAvailable:")), None)
    except OSError:  # another system
        return None
    return None if available is None else 1024 * int(available.split()[1])


def _hooks(module: nn.Module) -> Iterator[Any]:
    """What accelerate has put around a module's calls."""
    hook = getattr(module, "_hf_hook", None)
    yield from getattr(hook, "hooks", () if hook is None else (hook,))


def _execution_device(hook: object) -> Any:
    return getattr(hook, "execution_device", None)
