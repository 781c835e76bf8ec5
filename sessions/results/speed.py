"""Results of the verb about speed."""

from __future__ import annotations

from msgspec import Struct

from sessions.events import Value
from sessions.model.info import ModelInfo


class SpeedRow(Struct, frozen=True, kw_only=True):
    """What was timed. `rate` counts tokens, effects or samples a second. `raw` are the seconds of the plain call named
    by `against`, None where there is none."""

    name: str
    seconds: float
    rate: float
    counted: str
    raw: float | None = None
    against: str = ""

    @property
    def ratio(self) -> float | None:
        return None if not self.raw else self.seconds / self.raw


class SpeedMeasured(Value, frozen=True, kw_only=True):
    """`bench`: what this machine does for the open model. `bandwidth` is that of a copy, in bytes a second, and `read`
    the bytes of weights that a token reads; `share` is the part of the bandwidth that decoding reaches."""

    info: ModelInfo
    rows: tuple[SpeedRow, ...]
    bandwidth: float
    read: int
    share: float
    threads: int
    peak: int | None = None
