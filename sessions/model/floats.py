"""Tensors as the float32 of a safetensors file, and back. Float32 holds every bfloat16 and float16 exactly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sessions.errors import ArtifactError
from sessions.files.tensor_file import TensorBytes


def to_bytes(tensor: Tensor) -> TensorBytes:
    """The tensor's numbers as a file holds them."""
    numbers = tensor.detach().cpu().float().contiguous().numpy().astype("<f4")
    return TensorBytes("F32", tuple(tensor.shape), numbers.tobytes())


def from_bytes(stored: TensorBytes, what: str) -> Tensor:
    """The tensor again, in memory of its own.

    Raises:
        ArtifactError: it is of another dtype, or has a number that is not finite; `what` is how the message names it.
    """
    if stored.dtype != "F32":
        raise ArtifactError(f"{what} is of {stored.dtype}, and should be F32")
    numbers = np.frombuffer(stored.data, "<f4").reshape(stored.shape)
    if not np.isfinite(numbers).all():
        raise ArtifactError(f"{what} has a number that is not finite")
    return torch.from_numpy(numbers.astype(np.float32))
