"""Converts tensors to the float32 bytes of a safetensors file and back; float32 holds bfloat16 and float16 exactly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sessions.errors import ArtifactError
from sessions.files.tensor_file import TensorBytes


def to_bytes(tensor: Tensor) -> TensorBytes:
    """The tensor's numbers as float32 bytes."""
    numbers = tensor.detach().cpu().float().contiguous().numpy().astype("<f4")
    return TensorBytes("F32", tuple(tensor.shape), numbers.tobytes())


def from_bytes(stored: TensorBytes, what: str) -> Tensor:
    """The tensor in stored bytes, copied to its own memory; `what` names it in messages.

    Raises:
        ArtifactError: the dtype is not F32, or a number is not finite.
    """
    if stored.dtype != "F32":
        raise ArtifactError(f"{what} is of {stored.dtype}, and should be F32")
    numbers = np.frombuffer(stored.data, "<f4").reshape(stored.shape)
    if not np.isfinite(numbers).all():
        raise ArtifactError(f"{what} has a number that is not finite")
    return torch.from_numpy(numbers.astype(np.float32))
