"""The result of surgery in each layer, as plain data that needs no torch."""

from __future__ import annotations

from msgspec import Struct


class LayerCut(Struct, frozen=True, kw_only=True):
    """One layer after surgery removed a subspace of `dims` dimensions from its output, or kept only that subspace.

    `captured` is the subspace's share of the squared differences between the versions, and `differing` the number of
    dimensions in which they differ; both are None if the subspace does not come from versions. `down` and `attention`
    are the relative changes ‖ΔW‖ / ‖W‖ of the MLP's and the attention's matrices, None if they did not change. `apart`
    is the distance between the versions of a prompt in the layer's output, relative to other prompts, before and after
    (see `subspaces.apart`); None if it is undefined.
    """

    layer: int
    dims: int
    captured: float | None = None
    differing: int | None = None
    down: float
    attention: float | None = None
    apart: tuple[float, float] | None = None
