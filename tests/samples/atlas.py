"""Samples of `atlas` and `quiet`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions.atlas.findings import Peak, Profile, QuietRow, TopRow
from sessions.circuits.circuit import Neuron
from sessions.events import Value
from sessions.results import AtlasBuilt, AtlasShown, AtlasTop, QuietShown


def profiled(text: str) -> Profile:
    """A neuron over a corpus, with `text` as its tokens and around them."""
    peaks = tuple(
        Peak(value=value, document=7, position=41, token=text, before=(text, " of"), after=(text,) * 5)
        for value in (12.5, 3.25)
    )
    return Profile(
        neuron=Neuron(24, 1005), atlas=text, corpus=text, documents=1200, count=98_000, mean=-0.012, std=1.5, size=0.4,
        rate=0.031, quantiles=((0.05, -0.5), (0.5, 1e-5), (0.95, 0.75)), high=peaks, low=peaks[:1],
    )  # fmt: skip


def samples(text: str) -> Iterator[Value]:
    profile, neurons = profiled(text), (Neuron(24, 1005), Neuron(3, 12))
    yield AtlasBuilt(
        name="small", corpus=text, documents=1200, empty=3, tokens=98_000, layers=(0, 1, 2), neurons=46_080, k=10,
        length=128, bytes=80 << 20, path=f"/home/u/{text}", notes=(text,),
    )  # fmt: skip
    yield AtlasShown(profile=profile, listed=1)
    tops = (
        TopRow(neuron=neuron, peak=peak, mean=0.01, std=2.5, rate=0.012, up=(text, " b"))
        for neuron, peak in zip(neurons, profile.high, strict=True)
    )
    yield AtlasTop(atlas=text, corpus=text, layer=24, total=1536, rows=tuple(tops))
    quiet = QuietRow(neuron=neurons[0], largest=0.01, mean=1e-4, up=(text, " a"), down=(text,))
    yield QuietShown(over=text, regions=(), positions=(9000,), total=12, neurons=46_080, rows=(quiet,))
    contrast = tuple(
        QuietRow(neuron=neuron, largest=34.5, mean=1.5, silent=silent, silent_mean=0.1, ratio=ratio, up=(text,))
        for neuron, silent, ratio in zip(neurons, (0.25, 0.0), (138.0, None), strict=True)
    )
    yield QuietShown(
        over=text, regions=("thought", "answer"), positions=(900, 12), total=9, neurons=46_080, rows=contrast
    )
