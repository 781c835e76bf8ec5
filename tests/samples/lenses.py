"""Samples of what lenses read."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import structs

from sessions import results
from sessions.events import Value
from sessions.lenses.findings import EMBEDDINGS, HeadPart, LensAbout, LensLayer, LensQuality, LensRow, LogitPart
from sessions.model.info import Token
from tests.filling import filled
from tests.samples.circuits import target


def samples(text: str) -> Iterator[Value]:
    read = _read(text, layers=4, positions=5)
    yield read
    for of in ("rank", "entropy", "kl", "top"):
        yield structs.replace(read, of=of, target=None, generated=2, lens=text, lens_kind="tuned")
    yield _read(text, layers=90, positions=200)
    parts = [
        LogitPart(kind="embeddings", layer=None, value=-0.5),
        *(LogitPart(kind=kind, layer=layer, value=0.25 * layer) for layer in range(3) for kind in ("attention", "mlp")),
        LogitPart(kind="per-layer embeddings", layer=1, value=1e-7),
        LogitPart(kind="biases", layer=None, value=0.0),
    ]
    whole = filled(results.LogitComponents, text, target=target(text), parts=tuple(parts), heads=(), listed=3)
    yield whole
    heads = [HeadPart(layer=layer, head=head, value=0.1 * head - 0.2) for layer in (0, 2) for head in range(9)]
    yield structs.replace(whole, heads=(*heads, HeadPart(layer=2, head=None, value=0.01)), rest=0.0)
    quality = tuple(LensQuality(layer=layer, plain=8.0 - layer, fitted=4.0 - layer) for layer in range(-1, 3))
    about = filled(LensAbout, text, quality=quality)
    yield filled(results.LensFitted, text, about=about, layers=(EMBEDDINGS, 0, 1, 2))
    yield filled(results.LensFitted, text, about=structs.replace(about, quality=quality[:1]))


def _read(text: str, *, layers: int, positions: int) -> results.LensRead:
    numbers = tuple(range(EMBEDDINGS, layers - 1))

    def each(value: float) -> tuple[float, ...]:
        return tuple(value / (1 + place) for place in range(positions))

    grid = tuple(
        LensLayer(
            layer=layer, top=(text,) * positions, top_probability=each(0.9), probability=each(math.exp(layer - layers)),
            rank=tuple(1 + (layers - layer) * place for place in range(positions)), entropy=each(3.0), kl=each(40.0),
        )
        for layer in numbers
    )  # fmt: skip
    rows = tuple(
        LensRow(
            layer=layer.layer, tokens=(text,) * 5, top_probability=0.9, probability=layer.probability[-1],
            rank=layer.rank[-1] if layer.layer < layers - 3 else 1, entropy=3.0, kl=40.0,
        )
        for layer in grid
    )  # fmt: skip
    return results.LensRead(
        tokens=(text,) * positions, first=3, length=positions + 3, generated=0, position=positions + 2,
        target=Token(7, text), targets=(text,) * positions, of="prob", rows=rows, layers=grid, notes=(text,),
    )  # fmt: skip
