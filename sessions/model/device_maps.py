"""Checks a device map before a model is loaded with it: the devices are there, and each weight has one.

A map is a word that accelerate knows, a device, or a device for each module: `{"model.embed_tokens": 0, "model.layers":
"cuda:1", "lm_head": "disk"}`. A number is a CUDA device, "disk" leaves weights in files.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import torch
from torch import nn

from sessions.errors import ModelError

#: Ways in which accelerate fills the devices of a machine.
WORDS = ("auto", "balanced", "balanced_low_0", "sequential")

DeviceMap = str | Mapping[str, int | str]


def check_device(word: str, whole: str = "device") -> None:
    """Raise `ModelError` if a word is no device, or this machine lacks it; `whole` is what the word was given for."""
    kind, _, number = word.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdecimal())):
        known = "auto, cpu, cuda, cuda:0, mps" if whole == "device" else f"{', '.join(WORDS)}, cpu, cuda:0, mps"
        raise ModelError(f"'{word}' is not a {whole}", f"one of: {known}")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(number or 0) >= there:
        raise ModelError(
            f"this machine has no device '{word}'", f"--{whole.replace(' ', '-')} auto takes what there is"
        )


def check_devices(device_map: DeviceMap) -> None:
    """Raise `ModelError` if a map is of another kind than maps are, or names a device that this machine lacks."""
    if isinstance(device_map, str):
        if device_map not in WORDS:
            check_device(device_map, "device map")
        return
    if not device_map:
        raise ModelError("the device map is empty", "name a device for each module, or give 'auto'")
    for module, place in device_map.items():
        if place == "disk":
            continue
        try:
            check_device(f"cuda:{place}" if isinstance(place, int) else place)
        except ModelError as error:
            named = f"'{module}'" if module else "the whole model"
            raise ModelError(f"the device map puts {named} on {place!r}: {error.message}", error.hint) from None


def check_covers(device_map: DeviceMap, model: nn.Module, name: str) -> None:
    """Raise `ModelError` if a map names a module that a model does not have, or leaves out some of its weights.

    `model` may be without numbers.
    """
    if isinstance(device_map, str):
        return
    weights = [weight for weight, _ in (*model.named_parameters(), *model.named_buffers())]
    there = {"", *weights, *(module for module, _ in model.named_modules())}
    unknown = next((key for key in device_map if key not in there), None)
    if unknown is not None:
        close = get_close_matches(unknown, there, 1)
        of = ", ".join(key for key, _ in model.named_children())
        raise ModelError(
            f"the device map names '{unknown}', and {name} has no such module",
            f"did you mean '{close[0]}'?" if close else f"its parts are {of}; '' is all of it",
        )
    left = [weight for weight in weights if not any(_within(weight, key) for key in device_map)]
    if left:
        others = f" and {len(left) - 1:,} other weights" if len(left) > 1 else ""
        raise ModelError(
            f"the device map of {name} leaves out {left[0]}{others}",
            "name a device for each module; '' stands for all that have none of their own",
        )


def _within(weight: str, module: str) -> bool:
    return not module or weight == module or weight.startswith(f"{module}.")
