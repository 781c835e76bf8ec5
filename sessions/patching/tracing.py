"""Causal tracing: where a model recalls what it knows of a subject (Meng et al. 2022, arXiv:2202.05262, section 2).

1. The prompt runs, and what its layers hold is recorded.
2. It runs again with Gaussian noise on the embeddings of the subject's tokens. The standard deviation of the noise is a
   multiple, 3 by default, of that of the token embeddings. The target is lost.
3. In each cell of a grid of layers and positions, states of the first run are restored in the second: of a single layer
   or, since what one MLP or attention adds is little, of a window of layers around it. The number of a cell is the
   target's probability then, a mean over several draws of the noise. All cells of a draw have the same noise.

This is denoising (`grids`) with a base that has noise on its embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.events import Progress, Steps
from sessions.interventions.token_scopes import TokenTracker
from sessions.model.hooks import after, together
from sessions.model.info import Token
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.target import Target
from sessions.patching.grids import Grid, GridPlan
from sessions.patching.replaying import Replay, recorded

#: The noise, in standard deviations of the token embeddings; how often it is drawn; and the layers of a window.
NOISE, SEEDS, WINDOW = 3.0, 10, 10
#: Tokens whose embeddings are computed at once.
_CHUNK = 4096


@torch.inference_mode()
def embedding_deviation(opened: OpenModel) -> float:
    """The standard deviation of the numbers in the model's token embeddings."""
    count, total, squares = 0, 0.0, 0.0
    for first in range(0, opened.anatomy.n_tokens, _CHUNK):
        ids = torch.arange(first, min(first + _CHUNK, opened.anatomy.n_tokens), device=opened.device)
        values = opened.anatomy.embeddings[0](ids[None]).double()
        count += values.numel()
        total += float(values.sum())
        squares += float((values * values).sum())
    return max(0.0, squares / count - (total / count) ** 2) ** 0.5


def drawn_noise(deviation: float, positions: Sequence[int], shape: tuple[int, int], seed: int) -> Tensor:
    """Gaussian noise at some positions, zero elsewhere: `shape` is `[seq, d_embedding]`."""
    noise = torch.zeros(shape)
    drawn = torch.randn(len(positions), shape[1], generator=torch.Generator().manual_seed(seed))
    noise[list(positions)] = drawn * deviation
    return noise


@contextmanager
def noised(anatomy: Anatomy, noise: Tensor) -> Iterator[None]:
    """Inside the block, every pass over the text has `noise`, `[seq, d_embedding]`, added to its token embeddings."""
    following = TokenTracker()

    def add(_: Tensor, output: Tensor) -> Tensor:
        table = following.table(output.shape[0], output.shape[1], output.device)
        return output + noise.to(output)[table]

    with together([following.running(anatomy), after(anatomy.embeddings[0], add)]):
        yield


def trace(
    opened: OpenModel,
    ids: Sequence[int],
    token: Token,
    subject: Sequence[int],
    chosen: GridPlan,
    grid: Grid,
    *,
    noise: float = NOISE,
    seed: int = 0,
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[None]:
    """Fill a grid with the probability of a token where states are restored, a run for each draw of noise.

    `grid.base` is its probability with noise, `grid.other` without.

    Args:
        subject: the positions that get noise.
        noise: its standard deviation, in those of the token embeddings.
        seed: of the first draw; the next ones follow.

    Raises:
        ModelError: a layer has no such site.
        NotFinite: a probability is not finite.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    anatomy = opened.anatomy
    target = Target(tokens=(token,), sequence=True)
    yield Progress("tracing", 0, grid.values.numel(), "cells")
    deviation = noise * embedding_deviation(opened)
    clean = recorded(opened, ids, target, chosen.touched, cancel=cancel)
    grid.other[:] = clean.probability
    shape = len(ids), embedding_width(opened)
    for run in range(len(grid.base)):
        values = drawn_noise(deviation, subject, shape, seed + run)

        def around(values: Tensor = values) -> AbstractContextManager[None]:
            return noised(anatomy, values)

        base = recorded(opened, ids, target, chosen.touched, around=around, cancel=cancel)
        grid.base[run] = base.probability
        replay = Replay(opened, base, clean, target, around=around, batch=batch, cancel=cancel)
        for cells, log_probabilities in replay.values(chosen.patches(len(ids))):
            grid.values[run, cells] = torch.tensor(log_probabilities, dtype=torch.float64).exp()
            yield Progress("tracing", grid.done, grid.values.numel(), "cells")


@torch.inference_mode()
def embedding_width(opened: OpenModel) -> int:
    """The width of the token embeddings; some families have narrower ones than their layers."""
    return int(opened.anatomy.embeddings[0](torch.zeros(1, 1, dtype=torch.long, device=opened.device)).shape[-1])
