"""Neurons of an atlas as data: profiles of single neurons, the strongest of a layer, and JSON for other programs.

The JSON is that of the reference implementation, an object for each neuron, with its highest activation:
    {"34": {"text_index": 7, "token_position": 41, "trigger_token": " Austin", "activation_score": 3.25}, …}
The key is the neuron's number; where there are several layers, `L12/N34`. `text_index` is the document's number in the
corpus, `token_position` counts BOS where the model has one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sessions.atlas.atlas import QUANTILES, Atlas, By, Maximum
from sessions.atlas.findings import Peak, Profile
from sessions.files.json_text import readable
from sessions.model.units import Unit


def profile(atlas: Atlas, neuron: Unit, most: int | None = None) -> Profile:
    """A neuron over the corpus, with at most `most` maxima of each sign.

    Raises:
        UsageError: the atlas does not have it.
    """
    high, low = atlas.maxima(neuron)[:most], atlas.minima(neuron)[:most]
    layer, index = atlas.layer(neuron.layer), neuron.index
    return Profile(
        neuron=Unit(*neuron.site),
        atlas=atlas.name,
        corpus=atlas.about.corpus,
        documents=atlas.about.documents,
        count=int(layer.count[index]),
        mean=float(layer.mean[index]),
        std=float(layer.std[index]),
        size=float(layer.size[index]),
        rate=float(layer.rate[index]),
        quantiles=tuple(zip(QUANTILES, layer.quantiles[:, index].tolist(), strict=True)),
        high=tuple(map(peak, high)),
        low=tuple(map(peak, low)),
    )


def peak(maximum: Maximum) -> Peak:
    """A maximum, without the ids it is computed from."""
    return Peak(
        value=maximum.value,
        document=maximum.document,
        position=maximum.position,
        token=maximum.token,
        before=maximum.before,
        after=maximum.after,
    )


def strongest(atlas: Atlas, layer: int, count: int, by: By = "magnitude") -> list[tuple[Unit, Maximum]]:
    """The neurons of a layer with the largest |activation|, the largest first, each with its signed activation.

    By "positive", those with the highest activation, without neurons that were never above 0.

    Raises:
        UsageError: the atlas does not have the layer.
    """
    largest = atlas.layer(layer).by(by)
    rows = []
    for index in np.argsort(-largest, kind="stable")[:count].tolist():
        maximum = atlas.strongest(Unit(layer, index), by)
        if maximum is not None and (by == "magnitude" or maximum.value > 0):
            rows.append((Unit(layer, index, activation=maximum.value), maximum))
    return rows


def ranked(atlas: Atlas, count: int, *, quietest: bool = False, by: By = "magnitude") -> tuple[Unit, ...]:
    """The first `count` neurons of all layers by their largest |activation| or, by "positive", their highest one.

    The largest come first, or the smallest with `quietest`. Neurons that were never computed are left out; by
    "positive", also those that were never above 0.
    """
    layers = [
        (number, layer.by(by), np.flatnonzero(layer.highest > 0 if by == "positive" else layer.count > 0))
        for number, layer in atlas.layers.items()
    ]
    values = np.concatenate([largest[there] for _, largest, there in layers])
    places = np.concatenate([np.stack([np.full_like(there, number), there], 1) for number, _, there in layers])
    order = np.argsort(values if quietest else -values, kind="stable")[:count]
    return tuple(Unit(layer, index) for layer, index in places[order].tolist())


def reference(atlas: Atlas) -> bytes:
    """The JSON that other programs read, each neuron with its highest activation; one that was never computed is left
    out."""
    by_neuron: dict[str, dict[str, Any]] = {}
    for number, layer in atlas.layers.items():
        for index in range(layer.width):
            maximum = atlas.strongest(Unit(number, index), "positive")
            if maximum is not None:
                by_neuron[str(index) if len(atlas.layers) == 1 else f"L{number}/N{index}"] = {
                    "text_index": maximum.document,
                    "token_position": maximum.position,
                    "trigger_token": maximum.token,
                    "activation_score": maximum.value,
                }
    return readable(by_neuron, f"atlas '{atlas.name}'")
