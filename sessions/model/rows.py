"""Batches several texts as rows that are padded on the right.

Such rows need no mask and no position ids: in a causal model a token does not see what follows it, so every row
computes the same as alone, and nothing reads the padding. Generation pads on the left instead; see
`generation.left_padded`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sessions.model.opening import OpenModel

#: The most tokens in one batch, padding included.
LARGEST_BATCH = 1024


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Group rows of similar length into batches of at most `tokens` tokens with padding, or of a single longer row."""
    part: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if part and lengths[row] * (len(part) + 1) > tokens:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


@contextmanager
def padded_rows(opened: OpenModel, texts: Sequence[Sequence[int]]) -> Iterator[Tensor]:
    """Yield the ids of texts as rows, `[rows, longest]`; passes over them inside the block read one text a row.

    A shorter row is padded with its own last token. Any token serves, but the padding token would make transformers
    warn of a missing mask.
    """
    longest = max(map(len, texts))
    rows = [[*text, *[text[-1]] * (longest - len(text))] for text in texts]
    with opened.anatomy.as_long_as(*map(len, texts)):
        yield torch.tensor(rows, device=opened.device)
