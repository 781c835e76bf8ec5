"""Tells transformers what the host knows about attention masks, so that it does not ask the device.

transformers looks at the numbers of a mask to see whether anything is padded, and at the positions of a text without a
mask to see whether several texts are packed into one row. Each look is a wait of the host. Inside these blocks it does
not look; the masks, and so the results, are the same.

Two functions of transformers are replaced once, by ones that ask a context variable. So what one thread knows of its
pass says nothing about the pass of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import masking_utils
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

#: What the host knows of the rows of the running pass: some are padded, none is, or nothing.
_ROWS: ContextVar[Literal["padded", "unpadded"] | None] = ContextVar("rows", default=None)
_PACKED = "find_packed_sequence_indices"


@contextmanager
def _knowing(rows: Literal["padded", "unpadded"]) -> Iterator[None]:
    token = _ROWS.set(rows)
    try:
        yield
    finally:
        _ROWS.reset(token)


def padded() -> AbstractContextManager[None]:
    """Inside the block some row of every batch is padded."""
    return _knowing("padded")


def unpadded() -> AbstractContextManager[None]:
    """Inside the block every row of a batch without a mask is one text."""
    return _knowing("unpadded")


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    # A compiled step is traced once for all passes, and looks at no numbers anyhow.
    if not torch.compiler.is_compiling() and _ROWS.get() == "padded":
        kwargs["allow_is_causal_skip"] = False
    return sdpa_mask(*args, **kwargs)


def _unless_alone(find: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
    def found(*args: Any, **kwargs: Any) -> Tensor | None:
        known = not torch.compiler.is_compiling() and _ROWS.get() == "unpadded"
        return None if known else find(*args, **kwargs)

    return found


ALL_MASK_ATTENTION_FUNCTIONS.register("sdpa", _mask)
if hasattr(masking_utils, _PACKED):
    setattr(masking_utils, _PACKED, _unless_alone(getattr(masking_utils, _PACKED)))
