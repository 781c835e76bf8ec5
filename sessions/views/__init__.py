"""Views of results: `view(result)` is a tuple of blocks from a closed set (`sessions.views.blocks`).

Each family of results has a file of pure functions here. Renderers draw blocks and know nothing about results:
`sessions.views.html` and `sessions.views.plain` here, `workbench.rendering.terminal` for lines. No torch is imported.
"""

from __future__ import annotations

from sessions.events import Value
from sessions.views import (
    adapters,
    artifacts,
    atlas,
    autoencoders,
    chat,
    circuits,
    control,
    edges,
    edits,
    evaluation,
    heads,
    injecting,
    interventions,
    lenses,
    means,
    neuron,
    patching,
    presets,
    prompting,
    rewriting,
    so_far,
    speed,
    surgery,
    sweeps,
    training,
    universal,
    vectors,
)
from sessions.views.blocks import AnyBlock, Note
from sessions.views.registry import viewed

__all__ = ["FAMILIES", "view"]

#: Importing each of these registers its views with `registry.viewed`.
FAMILIES = (
    adapters, artifacts, atlas, autoencoders, chat, circuits, control, edges, edits, evaluation, heads, injecting,
    interventions, lenses, means, neuron, patching, presets, prompting, rewriting, so_far, speed, surgery,
    sweeps, training, universal, vectors,
)  # fmt: skip


def view(value: Value) -> tuple[AnyBlock, ...]:
    """The blocks of a result, then its notes as remarks.

    Raises:
        NotImplementedError: results of this kind have no view.
    """
    return (*viewed(value), *(Note(text=note, role="remark") for note in value.notes))
