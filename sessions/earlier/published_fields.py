"""Checked access to the entries of a file of an earlier project."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sessions.errors import ArtifactError
from sessions.model.units import BEYOND

_DIGITS = re.compile("[0-9]{1,9}")


class Fields:
    """The entries of a dictionary, each checked when it is read; errors name the key."""

    def __init__(self, held: Mapping[Any, Any], source: str) -> None:
        self.held = held
        self.source = source

    def whole(self, key: str) -> int:
        value = self._there(key)
        if not is_count(value):
            raise self._wrong(key, value, "a whole number from 0")
        return int(value)

    def number(self, key: str, default: float | None = None) -> float:
        value = self.held.get(key) if default is not None else self._there(key)
        if value is None and default is not None:
            return default
        value = value.item() if isinstance(value, Tensor) and _is_plain(value) and value.numel() == 1 else value
        number = None if isinstance(value, bool) or not isinstance(value, int | float) else finite_number(value)
        if number is None:
            raise self._wrong(key, value, "a number")
        return number

    def direction(self, key: Any, unit: bool = True) -> Tensor:
        """A vector of finite numbers; with `unit`, its norm must be 1."""
        vector = self._tensor(key, 1)
        if unit and not 0.98 < float(vector.norm()) < 1.02:
            raise ArtifactError(
                f"{self.source}: {key} has the norm {float(vector.norm()):.3g}, and is said to be a unit"
            )
        return vector

    def matrix(self, key: str) -> Tensor:
        return self._tensor(key, 2)

    def _tensor(self, key: Any, dimensions: int) -> Tensor:
        value = self._there(key)
        if isinstance(value, Tensor) and not _is_plain(value):
            kind = f"{value.layout} of {value.dtype} on {value.device}".replace("torch.", "")
            raise ArtifactError(f"{self.source}: {key} is {kind}, and should be a plain tensor of real numbers")
        if not isinstance(value, Tensor) or value.ndim != dimensions:
            shape = f"a tensor of {list(value.shape)}" if isinstance(value, Tensor) else repr(value)[:40]
            raise ArtifactError(f"{self.source}: {key} is {shape}, and should have {dimensions} dimensions")
        tensor = value.detach().float()
        if not tensor.isfinite().all():
            raise ArtifactError(f"{self.source}: {key} has a number that is not finite")
        return tensor

    def _there(self, key: Any) -> Any:
        if self.held.get(key) is None:
            raise ArtifactError(f"{self.source} has no {key}")
        return self.held[key]

    def _wrong(self, key: str, value: Any, what: str) -> ArtifactError:
        return ArtifactError(f"{self.source}: {key} is {repr(value)[:40]}, and should be {what}")


def layer_of(key: Any, source: str) -> int:
    """The number of the layer that a key names; raises `ArtifactError` if it names none."""
    if not names_one(key):
        raise ArtifactError(f"{source} has the key {repr(key)[:40]}, which is not the number of a layer")
    return int(key)


def names_one(value: Any) -> bool:
    """Whether the value is the number of a layer or a neuron, as an int or as digits."""
    return is_count(value) or (isinstance(value, str) and _DIGITS.fullmatch(value) is not None)


def is_count(value: Any) -> bool:
    """Whether the value is an int that can be the number of a layer or a neuron."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < BEYOND


def finite_number(value: float) -> float | None:
    """The value as a finite float; None if it is infinite, NaN or too large."""
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_plain(tensor: Tensor) -> bool:
    """Whether the tensor is dense, in memory and of floating point."""
    dense = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_nested
    return dense and not tensor.is_quantized and tensor.is_floating_point()
