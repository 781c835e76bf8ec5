"""Samples of `surgery cut`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.events import Value
from sessions.results import SubspaceCut
from sessions.surgery.cuts import LayerCut
from tests.samples import filled
from tests.samples.interventions import arms


def samples(text: str) -> Iterator[Value]:
    """Subspaces of versions, cut out of MLPs and attentions, and of tokens."""
    cut = LayerCut(layer=9, dims=10, captured=0.9, differing=1200, down=0.137, attention=1e-7, apart=(2.08, 1234.5))
    layers = cut, structs.replace(cut, layer=10, captured=1e-9, apart=None)
    both = ("down", "attn_out")
    cut_out = filled(SubspaceCut, text, keeps=False, writers=both, at="mean", layers=layers, arms=arms(text))
    yield structs.replace(cut_out, versions=("en", text) * 4, notes=(text,))
    yield structs.replace(cut_out, keeps=True, writers=("down",), at="", versions=(), arms=())
