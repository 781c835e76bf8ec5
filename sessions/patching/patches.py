"""What a patch replaces, and the results of patching as plain data without torch.

A patch is a set of pieces. A piece is what one part of a site holds in one layer at one position. A state of the
residual stream, or of what attention or the MLP adds to it, is one part; a head and a neuron are one of many.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct

PatchSite = Literal["resid_pre", "resid_post", "mlp_out", "attn_out", "heads", "neurons"]
#: Sites of which a cell is a layer and a position.
STATES: tuple[PatchSite, ...] = ("resid_pre", "resid_post", "mlp_out", "attn_out")

Direction = Literal["denoise", "noise"]


class SiteAt(NamedTuple):
    """A site of a layer."""

    site: PatchSite
    layer: int


class Piece(NamedTuple):
    """One part of a site: where it is, at which position, and its number within the site (0 for a state)."""

    at: SiteAt
    position: int
    part: int = 0

    @property
    def layer(self) -> int:
        return self.at.layer


Patch = tuple[Piece, ...]
"""The pieces that are replaced together in one run."""


class PatchedCell(Struct, frozen=True, kw_only=True):
    """What one patch does: its value and, over several prompts, its 95% bootstrap interval.

    `unit` is how the cell is written: `L5@12`, `L5/H3`, `L24/N1005`. `position` is None where it was patched at several
    positions; `token` is the token there, "" where prompts have different ones.
    """

    unit: str
    layer: int
    position: int | None
    token: str
    value: float
    low: float | None = None
    high: float | None = None


class PatchMap(Struct, frozen=True, kw_only=True):
    """Values by layer and column, `cells[l][c]`, None where not yet known.

    `columns` are positions, which count from the end where they are below 0, or the numbers of heads. `tokens` are the
    tokens at the positions, "" where prompts have different ones; empty for heads.
    """

    layers: tuple[int, ...]
    columns: tuple[int, ...]
    tokens: tuple[str, ...]
    cells: tuple[tuple[float | None, ...], ...]
