"""A model opened in the ways that it can lie on a machine: on one device, over two, and partly on none.

Layers over two devices are cut in the middle; the embedding stays on the first, the final norm goes to the second, and
the head with it unless its weights are the embedding's. What is offloaded lies in the memory of the host or in files,
has weights on `meta`, and comes to the device for each call: the second half of the layers, or the head too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from sessions.model.anatomy import FINAL_NORM_NAMES
from sessions.model.opening import OpenModel, adopt
from tests.accelerator.meter import Meter
from tests.accelerator.pretending import pretended


@dataclass(frozen=True)
class Placement:
    """Where the first half of a model is, the second half, and the head; "" is where the second half is.

    Numbers are devices, as in the maps that accelerate makes. `devices` 0 is a machine without any.
    """

    name: str
    devices: int
    first: int | str
    second: int | str
    head: int | str = ""

    @property
    def offloads(self) -> bool:
        """Whether some of the weights are on `meta`."""
        outside = {"disk"} if self.first == "cpu" else {"disk", "cpu"}
        return bool(outside & {self.first, self.second, self.head})


CPU = Placement("cpu", 0, "cpu", "cpu")
ONE = Placement("one device", 1, 0, 0)
TWO = Placement("two devices", 2, 0, 1)
IN_MEMORY = Placement("offloaded to memory", 1, 0, "cpu", 0)
ON_DISK = Placement("offloaded to disk", 1, 0, "disk", "disk")
#: A device that has no float64.
NARROW = Placement("one that has no float64", 1, "mps", "mps")
#: A machine without a device, most of the model on the disk.
ALL_ON_DISK = Placement("cpu and disk", 0, "disk", "cpu", "disk")
ALL = (CPU, ONE, NARROW, TWO, IN_MEMORY, ON_DISK, ALL_ON_DISK)


@contextmanager
def machine(placement: Placement, memory: int = 80 * 2**30) -> Iterator[Meter | None]:
    """In the block the machine has the devices that a placement is for."""
    kind = "mps" if placement.first == "mps" else "cuda"
    with pretended(placement.devices, memory=memory, kind=kind) if placement.devices else nullcontext() as meter:
        yield meter


def device_map(model: PreTrainedModel, placement: Placement) -> dict[str, int | str]:
    """The map that places a model so, as `from_pretrained` has it."""
    decoder = model.get_decoder()
    names = {id(module): name for name, module in model.named_modules()}
    places: dict[str, int | str] = {}
    for name, child in decoder.named_children():
        if isinstance(child, nn.ModuleList):
            halves = [placement.first] * (len(child) // 2) + [placement.second] * (len(child) - len(child) // 2)
            places |= {names[id(block)]: half for block, half in zip(child, halves, strict=True)}
        else:
            last = name in FINAL_NORM_NAMES and isinstance(placement.second, int)
            places[names[id(child)]] = placement.second if last else placement.first
    head = model.get_output_embeddings()
    tied = head.weight is model.get_input_embeddings().weight
    places[names[id(head)]] = (
        placement.first if tied else (placement.second if placement.head == "" else placement.head)
    )
    return places


def opened(folder: Path, placement: Placement, offload_folder: Path | None = None) -> OpenModel:
    """The model in a folder, placed so, in float32; call it inside `machine`."""
    with torch.device("meta"):
        shape = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    places = device_map(shape, placement)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, device_map=places, offload_folder=offload_folder, use_safetensors=True
    )
    return adopt(model, AutoTokenizer.from_pretrained(folder), name=folder.name, source=str(folder), fingerprint="same")
