"""Reads mean activations from files of earlier projects: a key holds one vector for each layer, from layer 0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sessions.earlier.published import plain
from sessions.errors import ArtifactError, UsageError


def means_in(path: Path, key: str | None = None) -> tuple[str, tuple[Tensor, ...]]:
    """The key of the means in a file, and the mean vector of each layer.

    Args:
        key: which means to read, if the file has several.

    Raises:
        ArtifactError: the file has no means, or a number in them is not finite.
        UsageError: the file has several means, and `key` names none of them.
    """
    known = {name: vectors for name, vectors in _candidates(plain(path)) if name}
    if not known:
        raise ArtifactError(f"{path} has no means in it", "they are a list with a vector for each layer, under a key")
    if (key is None and len(known) > 1) or (key is not None and key not in known):
        problem = f"{path} has no means called '{key}'" if key is not None else f"{path} has several means"
        raise UsageError(problem, f"--key, one of: {', '.join(known)}")
    name = next(iter(known)) if key is None else key
    layers = tuple(vector.detach().float() for vector in known[name])
    wrong = next((number for number, vector in enumerate(layers) if not bool(vector.isfinite().all())), None)
    if wrong is not None:
        raise ArtifactError(f"{path} has a mean in layer {wrong} of {name} that is not finite")
    return name, layers


def _candidates(contents: Any) -> list[tuple[str, list[Tensor]]]:
    """Each key whose value can be means, with the vectors of all layers."""
    items = contents.items() if isinstance(contents, Mapping) else ()
    return [(str(key), layers) for key, value in items if (layers := _layers(value, "mean" in str(key).lower()))]


def _layers(value: Any, is_called_mean: bool) -> list[Tensor]:
    """The vector of each layer in a list, in a dictionary by number, or in the rows of a matrix called a mean.

    Empty if the value is anything else.
    """
    if isinstance(value, Mapping):
        if sorted(map(str, value)) != sorted(map(str, range(len(value)))):
            return []
        numbered = {str(key): vector for key, vector in value.items()}
        value = [numbered[str(number)] for number in range(len(value))]
    if is_called_mean and isinstance(value, Tensor) and value.layout == torch.strided and value.ndim == 2:
        value = list(value)
    fits = isinstance(value, list | tuple) and all(_is_vector(vector) for vector in value)
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
