"""What surgery did, as plain data that needs no torch."""

from __future__ import annotations

from msgspec import Struct


class LayerCut(Struct, frozen=True, kw_only=True):
    """One layer after a subspace of `dims` dimensions was taken out of what it writes, or all but it.

    `captured` is the share of the squared differences between the versions that the subspace holds, and `differing` in
    how many dimensions they differ at all; both None where the subspace does not come from versions. `down` and
    `attention` say by how much the matrices changed, ‖ΔW‖ / ‖W‖, of the MLP and of the attention, None where they were
    left alone. `apart` is how far the versions of a prompt lie from each other in what leaves the layer, relative to
    other prompts, before and after (see `subspaces.apart`); None where that cannot be said.
    """

    layer: int
    dims: int
    captured: float | None = None
    differing: int | None = None
    down: float
    attention: float | None = None
    apart: tuple[float, float] | None = None
