"""Samples of `sae`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions.directions.features import About, Encoding, Feature
from sessions.events import Value
from sessions.results import StateEncoded
from tests.samples import filled


def samples(text: str) -> Iterator[Value]:
    page = f"https://www.neuronpedia.org/{text}"
    about = filled(
        About, text, architecture="topk", k=32, normalised="layer_norm", centred=False, model=text, page=page
    )
    strong = Feature(index=65535, activation=7.25, share=0.5, norm=4.5, up=(text, " Austin"), down=(text,), page=page)
    features = strong, Feature(index=0, activation=1e-4, share=0.0, norm=0.0)
    some = Encoding(active=412, unexplained=7.5, cosine=-0.25, norms=(195.5, 4.25e6), features=features)
    yield StateEncoded(about=about, encoding=some, position=3, token=text, saved="state", path=f"/home/u/{text}")
    none = Encoding(active=0, unexplained=1.0, cosine=0.0, norms=(0.0, 0.0), features=())
    yield StateEncoded(about=about, encoding=none, position=None, token="", vector="calm")
