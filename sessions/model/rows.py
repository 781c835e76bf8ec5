"""Several texts as the rows of one batch.

Padded on the right, rows need no mask or position ids of their own: in a causal model nothing looks at what comes after
it, so every row computes what it would alone, and what stands at its padding is never read. Padded on the left, as
generation has them, see `generation.left_padded`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sessions.model.opening import OpenModel

#: Tokens in one batch, padding included.
LARGEST_BATCH = 1024


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Rows in batches of at most so many tokens, padding included, those of like length together; one row at least."""
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
    """Inside the block, passes over the ids that this yields, `[rows, longest]`, read these texts, a row each.

    A shorter row is padded with its own last token: any token will do, and one that is called a padding token would
    make transformers warn of a missing mask.
    """
    longest = max(map(len, texts))
    rows = [[*text, *[text[-1]] * (longest - len(text))] for text in texts]
    with opened.anatomy.as_long_as(*map(len, texts)):
        yield torch.tensor(rows, device=opened.device)
