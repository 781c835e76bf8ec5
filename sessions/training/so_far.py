"""A round of training while it runs: its losses so far."""

from __future__ import annotations

from typing import ClassVar

from sessions.events import Value


class TrainingSoFar(Value, frozen=True, kw_only=True):
    """`train-round` and `crab` while they run: the mean loss of each step so far, in nats a token, of `steps`."""

    table: ClassVar[str] = "losses"

    losses: tuple[float, ...]
    steps: int
