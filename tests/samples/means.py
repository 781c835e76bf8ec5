"""Samples of `means`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions.circuits.circuit import Neuron
from sessions.events import Value
from sessions.results import LayerMeans, MeansBuilt, MeansShown, NeuronMean


def samples(text: str) -> Iterator[Value]:
    yield MeansBuilt(name="facts", over=text, texts=12, tokens=1, neurons=46_080, places=17, path=f"/home/u/{text}")
    yield MeansShown(
        name="facts", model=text, over=text, texts=0, tokens=0, size=46_080, places=0,
        layers=(LayerMeans(layer=0, neurons=1536, size=0.01, strongest=Neuron(0, 5), mean=-2.5e4),),
        neurons=(NeuronMean(neuron=Neuron(24, 1005), mean=1.5),),
    )  # fmt: skip
