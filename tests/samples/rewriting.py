"""Samples of `rewrite`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.events import Value
from sessions.results import Rewritten
from sessions.rewriting.rewritten import AtAlpha, Replied
from tests.samples import filled


def samples(text: str) -> Iterator[Value]:
    """A neuron that says `text`, with a brake and a collapse; and one without a gate, that was never let answer."""
    low = filled(AtAlpha, text, alpha=93.5)
    rows = low, structs.replace(low, alpha=1e6, perplexity=4.2e7, said=1250, repetition=None)
    replies = (filled(Replied, text, after=f"{text} amen", guarded=3),) * 2
    whole = filled(Rewritten, text, rows=rows, chosen=1, bias=None, replies=replies, notes=(text,))
    yield whole
    yield structs.replace(whole, apart=False, scale_up=None, bias=-2.5, normed=False, brake=None, replies=())
    yield structs.replace(whole, brake=None, collapsed=False)
