"""Tells transformers what the host knows about attention masks, so that it does not ask the device.

transformers looks at the numbers of a mask to see whether anything is padded, and at the positions of a text without a
mask to see whether several texts are packed into one row. Each look is a wait of the host. Inside these blocks it does
not look; the masks, and so the results, are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch import Tensor
from transformers import masking_utils
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

_PACKED = "find_packed_sequence_indices"


@contextmanager
def padded() -> Iterator[None]:
    """Inside the block some row of every batch is padded."""
    ALL_MASK_ATTENTION_FUNCTIONS["sdpa"] = _mask_of_padded
    try:
        yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]


def _mask_of_padded(*args: Any, **kwargs: Any) -> Tensor | None:
    return sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False})


@contextmanager
def unpadded() -> Iterator[None]:
    """Inside the block every row of a batch without a mask is one text."""
    if not hasattr(masking_utils, _PACKED):
        yield
        return
    with mock.patch.object(masking_utils, _PACKED, lambda *_, **__: None):
        yield
