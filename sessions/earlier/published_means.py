"""Mean activations in files of earlier projects: under a key, a vector for each layer, from layer 0 on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sessions.earlier.published import plain
from sessions.errors import ArtifactError, UsageError


def means_in(path: Path, key: str | None = None) -> tuple[str, tuple[Tensor, ...]]:
    """The means in a file: their key, and those of each layer.

    Args:
        key: which they are, where there are several.

    Raises:
        ArtifactError: there are none, or there is a number that is not finite.
        UsageError: there are several, and the key is none of theirs.
    """
    held = plain(path)
    known = {name: found for name, found in _each(held) if name}
    if not known:
        raise ArtifactError(f"{path} has no means in it", "they are a list with a vector for each layer, under a key")
    if (key is None and len(known) > 1) or (key is not None and key not in known):
        said = f"{path} has no means called '{key}'" if key is not None else f"{path} has several means"
        raise UsageError(said, f"--key, one of: {', '.join(known)}")
    name = next(iter(known)) if key is None else key
    layers = tuple(each.detach().float() for each in known[name])
    wrong = next((number for number, each in enumerate(layers) if not bool(each.isfinite().all())), None)
    if wrong is not None:
        raise ArtifactError(f"{path} has a mean in layer {wrong} of {name} that is not finite")
    return name, layers


def _each(held: Any) -> list[tuple[str, list[Tensor]]]:
    """What may be means: by its key, the vectors of all layers."""
    items = held.items() if isinstance(held, Mapping) else ()
    return [(str(key), layers) for key, value in items if (layers := _layers(value, "mean" in str(key).lower()))]


def _layers(value: Any, is_called_so: bool) -> list[Tensor]:
    """A vector for each layer, in a list or by number, or as the rows of a matrix that is called a mean; empty where
    this is something else."""
    if isinstance(value, Mapping):
        if sorted(map(str, value)) != sorted(map(str, range(len(value)))):
            return []
        numbered = {str(key): each for key, each in value.items()}
        value = [numbered[str(number)] for number in range(len(value))]
    if is_called_so and isinstance(value, Tensor) and value.layout == torch.strided and value.ndim == 2:
        value = list(value)
    fits = isinstance(value, list | tuple) and all(_is_vector(each) for each in value)
    return list(value) if fits else []


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.ndim == 1
        and len(value) > 0
        and value.layout == torch.strided
        and not value.is_meta
        and not value.is_quantized
        and value.is_floating_point()
    )
