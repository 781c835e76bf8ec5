"""Quiet neurons: those that hardly ever fire, over a corpus or in one part of generated texts.

The largest and the mean |activation| of each neuron come from an atlas, or from a region of texts that the model
generated. A neuron that is quiet everywhere can be taught something new without disturbing anything. A neuron that is
active in one region and silent in another belongs to the first.

Neurons are ranked by their largest |activation|, the smallest first. For two regions they are ranked by the ratio of
the largest |activation| in one to that in the other, the largest first. An answer begins after the token that completes
the marker at the end of a thought, as for interventions (`token_scopes`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from sessions.atlas.atlas import Array, Atlas, AtlasLayer
from sessions.atlas.folding import Running
from sessions.atlas.site_folding import Batch, begun, by_layer, folding_into, sites_of
from sessions.cancel import Cancel
from sessions.errors import UsageError
from sessions.events import Progress, Steps, retold
from sessions.model.generation import Decoding, GeneratedRow, generate
from sessions.model.hooks import watched
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel
from sessions.model.rows import LARGEST_BATCH, batches, padded_rows
from sessions.model.sites import Site
from sessions.model.texts import special_ids, text_of

Region = Literal["prompt", "thought", "answer"]
#: Prompts that are continued at once.
ROWS = 8


@dataclass(frozen=True)
class Levels:
    """The largest and the mean |activation| of each neuron, layer → `[width]`, over so many positions."""

    largest: Mapping[int, Array]
    mean: Mapping[int, Array]
    positions: int

    @classmethod
    def of(cls, layers: Mapping[int, AtlasLayer], positions: int) -> Levels:
        return cls(
            {number: layer.largest for number, layer in layers.items()},
            {number: layer.size for number, layer in layers.items()},
            positions,
        )


@dataclass(frozen=True)
class QuietNeuron:
    """A quiet neuron. `silent` and `silent_mean` are its levels in the region it is silent in, if there is one."""

    layer: int
    index: int
    largest: float
    mean: float
    silent: float | None = None
    silent_mean: float | None = None

    @property
    def ratio(self) -> float | None:
        """Its largest |activation| divided by that in the silent region; None if that is 0."""
        return self.largest / self.silent if self.silent else None


def over_atlas(atlas: Atlas) -> Levels:
    """The levels over the corpus of an atlas."""
    return Levels.of(atlas.layers, atlas.about.tokens)


def candidates(
    active: Levels,
    silent: Levels | None = None,
    *,
    layers: Sequence[int] | None = None,
    between: tuple[float, float] = (0.0, float("inf")),
    ratio: float = 1.0,
) -> list[QuietNeuron]:
    """The neurons whose largest |activation| lies `between` two numbers, the smallest first.

    With `silent`, those whose largest is at least `ratio` times as large as the largest there, and not 0, the largest
    ratio first.

    Raises:
        UsageError: the levels are not of these layers.
    """
    chosen = sorted(active.largest) if layers is None else list(layers)
    missing = next((layer for layer in chosen if layer not in active.largest), None)
    if missing is not None:
        raise UsageError(
            f"nothing is known of layer {missing}", f"there are {min(active.largest)} to {max(active.largest)}"
        )
    neurons = []
    for layer in chosen:
        largest = active.largest[layer]
        fits = (largest >= between[0]) & (largest <= between[1])
        if silent is not None:
            fits &= (largest > 0) & (largest >= ratio * silent.largest[layer])
        for index in np.flatnonzero(fits).tolist():
            other = (None, None)
            if silent is not None:
                other = float(silent.largest[layer][index]), float(silent.mean[layer][index])  # type: ignore[assignment]
            neurons.append(QuietNeuron(layer, index, float(largest[index]), float(active.mean[layer][index]), *other))
    if silent is None:
        return sorted(neurons, key=lambda neuron: (neuron.largest, neuron.mean))
    return sorted(neurons, key=lambda neuron: -(float("inf") if neuron.ratio is None else neuron.ratio))


def over_replies(
    opened: OpenModel,
    prompts: Sequence[Encoded],
    regions: Sequence[Region],
    decoding: Decoding,
    marker: str,
    *,
    batch: int = LARGEST_BATCH,
    cancel: Cancel | None = None,
) -> Steps[tuple[Levels, ...]]:
    """The levels in each region of the texts that the model generates after each prompt, without special tokens.

    Args:
        marker: the text that ends a thought.

    Raises:
        UsageError: a region has no position in any of the texts.
    """
    texts: list[tuple[int, ...]] = []
    for start in range(0, len(prompts), ROWS):
        part = prompts[start : start + ROWS]
        yield Progress("writing replies", start, len(prompts), "texts")
        rows = yield from _continued(opened, [prompt.ids for prompt in part], decoding, cancel)
        texts += [(*prompt.ids, *row.ids) for prompt, row in zip(part, rows, strict=True)]
    special = special_ids(opened.tokenizer)
    counted = [
        [_counted(opened.tokenizer, prompt, ids, region, marker, special) for region in regions]
        for prompt, ids in zip(prompts, texts, strict=True)
    ]
    sizes = [sum(len(positions[number]) for positions in counted) for number in range(len(regions))]
    nothing = next((region for region, size in zip(regions, sizes, strict=True) if not size), None)
    if nothing is not None:
        raise UsageError(
            f"there is no {nothing} in any of the texts, {len(texts):,} of them",
            "let the model write more (set max_tokens 512), or name what ends a thought with --marker",
        )
    sites = sites_of(opened.anatomy, range(opened.anatomy.n_layers))
    running = [[begun(site, 1) for _, site in sites] for _ in regions]
    for rows_ in batches([len(ids) for ids in texts], batch):
        yield Progress("reading them", 0, 0, "texts")
        _read(opened, sites, running, [texts[row] for row in rows_], [counted[row] for row in rows_], cancel)
    return tuple(Levels.of(by_layer(sites, region), size) for region, size in zip(running, sizes, strict=True))


def _continued(
    opened: OpenModel, part: Sequence[Sequence[int]], decoding: Decoding, cancel: Cancel | None
) -> Steps[list[GeneratedRow]]:
    steps = generate(opened.model, opened.tokenizer, part, decoding)
    with watched(opened.anatomy, cancel):
        return (
            yield from retold(
                steps, lambda step: Progress("writing replies", step.number + 1, decoding.max_tokens, "tokens")
            )
        )


@torch.inference_mode()
def _read(
    opened: OpenModel,
    sites: Sequence[tuple[int, Site]],
    running: Sequence[Sequence[Running]],
    texts: Sequence[Sequence[int]],
    counted: Sequence[Sequence[Sequence[int]]],
    cancel: Cancel | None,
) -> None:
    """Fold a batch of texts into the statistics of each region; `counted` has the positions of each text and region."""
    parts = []
    with ExitStack() as stack:
        ids = stack.enter_context(padded_rows(opened, texts))
        stack.enter_context(watched(opened.anatomy, cancel))
        for number, running_region in enumerate(running):
            positions = [regions[number] for regions in counted]
            batch = Batch.of(positions, ids.shape[1], [0] * len(texts))
            parts.append(batch)
            for (_, site), statistics in zip(sites, running_region, strict=True):
                stack.enter_context(folding_into(site, statistics, batch))
        opened.anatomy.decoder(input_ids=ids, use_cache=False)
    for batch in parts:
        batch.land()


def _counted(
    tokenizer: PreTrainedTokenizerBase,
    encoded: Encoded,
    ids: Sequence[int],
    region: Region,
    marker: str,
    special: frozenset[int],
) -> list[int]:
    """The positions of a text that are in a region."""
    first, end = 0, encoded.reply
    if region != "prompt":
        reply = ids[encoded.reply :]
        closed = bisect_left(range(len(reply) + 1), True, key=lambda n: marker in text_of(tokenizer, reply[:n]))
        answer = encoded.reply + closed
        first, end = (encoded.reply, answer) if region == "thought" else (answer, len(ids))
    return [at for at in range(first, min(end, len(ids))) if ids[at] not in special]
