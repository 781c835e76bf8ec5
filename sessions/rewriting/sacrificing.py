"""The neuron that is rewritten where none is named: the quietest in the late middle of the model that is not in use."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

from sessions.atlas.atlas import Atlas
from sessions.atlas.building import Building, plan
from sessions.atlas.quiet import Levels, candidates, over_atlas
from sessions.cancel import Cancel
from sessions.edits.edit import Edit, Neurons
from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.model.opening import OpenModel
from sessions.model.units import Unit
from sessions.texts.corpus import Corpus

#: Where it is looked for, as fractions of the depth: late enough to know what was read, early enough for the layers
#: above to use what it writes.
DEPTH = (2 / 3, 5 / 6)
#: Documents of the built-in corpus that are read for it where there is no atlas, and tokens of each.
DOCUMENTS, LENGTH = 64, 64


def sacrificed(
    opened: OpenModel,
    atlas: Atlas | None,
    busy: Collection[tuple[int, int]],
    *,
    cancel: Cancel | None = None,
) -> Steps[tuple[Unit, str]]:
    """The neuron, and a remark that says how quiet it is.

    Args:
        atlas: where it is looked up; the built-in corpus is read where there is none, or none of these layers.
        busy: neurons that something else is done with, as layer and index.

    Raises:
        UsageError: all of them are busy.
    """
    count = opened.info.n_layers
    layers = range(math.floor(DEPTH[0] * count), max(math.ceil(DEPTH[1] * count), 1))
    known = [] if atlas is None else [layer for layer in layers if layer in atlas.layers]
    if atlas is not None and known:
        return _quietest(opened, over_atlas(atlas), known, busy, f"atlas {atlas.name}")
    corpus = Corpus(most=DOCUMENTS)
    survey = yield from corpus.surveyed(cancel)
    building = Building(opened, plan(opened, corpus, survey, layers=layers, length=LENGTH))
    for done in building.fold(list(corpus.documents()), cancel):
        yield Progress("looking for a quiet neuron", done, survey.documents, "documents")
    over = f"{survey.documents:,} paragraphs, layers {layers[0]} to {layers[-1]}"
    return _quietest(opened, over_atlas(building.finished()), layers, busy, over)


def _quietest(
    opened: OpenModel, levels: Levels, layers: Sequence[int], busy: Collection[tuple[int, int]], over: str
) -> tuple[Unit, str]:
    # What is 0 throughout in a mixture of experts may be of an expert that no token is sent to.
    least = 1e-9 if opened.info.experts else 0.0
    free = candidates(levels, layers=layers, between=(least, math.inf))
    best = next((candidate for candidate in free if (candidate.layer, candidate.index) not in busy), None)
    if best is None:
        raise UsageError(f"no neuron of {over} is free", "name one: rewrite L12/N34")
    neuron = Unit(best.layer, best.index)
    return neuron, f"{neuron} is used: its |activation| never exceeds {best.largest:.2g} over {over}"


def rewritten_in(edit: Edit) -> Iterator[tuple[int, int]]:
    """The neurons whose rows and columns an edit has changed, as layer and index."""
    for change in edit.changes:
        if isinstance(change, Neurons):
            yield from ((change.layer, index) for index in change.indices)
