"""Batches several texts as rows that are padded on the right, as many at once as memory allows.

Such rows need no mask and no position ids: in a causal model a token does not see what follows it, so every row
computes the same as alone, and nothing reads the padding. Generation pads on the left instead; see
`generation.left_padded`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sessions.memory import Found, in_parts
from sessions.model.homes import devices_of, free_memory
from sessions.model.masks import unpadded
from sessions.model.memory_needed import Shape
from sessions.model.opening import OpenModel
from sessions.model.shapes import shape_of

#: Tokens in one batch, padding included, in the memory of the host; and the most on an accelerator.
LARGEST_BATCH, LARGEST_ON_DEVICE = 1024, 16384
#: The share of a device's free memory that a batch may take.
PART = 0.5

Needed = Callable[[Shape, int], int]
"""The bytes that so many tokens need (see `memory_needed`)."""


def at_once(opened: OpenModel, batch: int | None, needed: Needed) -> int:
    """How many tokens to compute at once: `batch`, where the user says it; on accelerators as many as fit into half
    of the free memory of the fullest; else `LARGEST_BATCH`."""
    if batch is not None:
        return batch
    known = [free for device in devices_of(opened.model) if (free := free_memory(device)) is not None]
    if opened.device.type != "cuda" or not known:
        return LARGEST_BATCH
    each = max(1, needed(shape_of(opened), LARGEST_BATCH) // LARGEST_BATCH)
    return max(1, min(LARGEST_ON_DEVICE, int(PART * min(known)) // each))


def in_batches(
    opened: OpenModel,
    lengths: Sequence[int],
    batch: int | None,
    needed: Needed,
    compute: Callable[[Sequence[int]], Found],
) -> Iterator[tuple[Sequence[int], Found]]:
    """The rows of each batch with what is computed of them; a batch that does not fit is halved (`memory.in_parts`).

    Args:
        lengths: tokens of each row.
        batch: tokens computed at once, padding included; None for as many as memory allows (`at_once`).
    """
    return in_parts(batches(lengths, at_once(opened, batch, needed)), compute)


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
    with opened.anatomy.as_long_as(*map(len, texts)), unpadded():
        # Made on the device, they would wait for everything that it was sent before.
        yield torch.tensor(rows).to(opened.device, non_blocking=True)
