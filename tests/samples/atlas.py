"""Samples of `atlas` and `quiet`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions.atlas.findings import Peak, Profile, QuietRow
from sessions.events import Value
from sessions.model.units import Neuron
from sessions.results import AtlasShown, QuietShown
from tests.samples import filled


def profiled(text: str) -> Profile:
    """A neuron over a corpus, with `text` as its tokens and around them."""
    peaks = tuple(filled(Peak, text, value=value, before=(text, " of"), after=(text,) * 5) for value in (12.5, 3.25))
    quantiles = ((0.05, -0.5), (0.5, 1e-5), (0.95, 0.75))
    return filled(Profile, text, neuron=Neuron(24, 1005), mean=-0.012, quantiles=quantiles, high=peaks, low=peaks[:1])


def samples(text: str) -> Iterator[Value]:
    profile = profiled(text)
    yield AtlasShown(profile=profile, listed=1)
    quiet = QuietRow(neuron=profile.neuron, largest=0.01, mean=1e-4, up=(text, " a"), down=(text,))
    yield filled(QuietShown, text, regions=(), rows=(quiet,))
    active = QuietRow(neuron=Neuron(3, 12), largest=34.5, mean=1.5, silent=0.25, silent_mean=0.1, ratio=138.0)
    silent = QuietRow(neuron=Neuron(0, 1), largest=3.5, mean=0.5, silent=0.0, silent_mean=0.0, up=(text,))
    yield filled(QuietShown, text, regions=("thought", "answer"), rows=(active, silent))
