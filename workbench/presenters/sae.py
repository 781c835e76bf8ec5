"""Sparse autoencoders: the results of `sae load` and `sae encode`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.directions.features import ARCHITECTURES, About, Encoding, Feature
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import bar, facts, inline, percent, quoted, signed


@shown.register
def _(value: results.AutoencoderOpened, sheet: parts.Sheet) -> Iterator[RenderableType]:
    about = value.about
    centred = "the decoder's bias taken off first" if about.centred else "the decoder's bias not taken off first"
    trained = f"trained on {inline(about.model)}" if about.model else ""
    yield facts([*_heading(about), inline(ARCHITECTURES.get(about.architecture, "")), trained], sheet.width)
    normalised = "states as they are" if about.normalised == "none" else f"states scaled: {inline(about.normalised)}"
    yield parts.dim(facts([normalised, centred, inline(about.page), inline(about.source)], sheet.width))


@shown.register
def _(value: results.StateEncoded, sheet: parts.Sheet) -> Iterator[RenderableType]:
    place = f"vector {inline(value.vector)}" if value.position is None else f"@{value.position} {quoted(value.token)}"
    yield facts([place, *_heading(value.about)], sheet.width)
    yield facts(_fit(value.encoding), sheet.width)
    if value.encoding.features:
        yield _features(value, sheet)
    saved = f"saved vector:{inline(value.saved)}" if value.saved else ""
    page = inline(value.encoding.features[0].page) if value.encoding.features else ""
    if saved or page:
        yield parts.dim(facts([saved, inline(value.path), page], sheet.width))


def _heading(about: About) -> list[str]:
    k = f" k={about.k}" if about.k else ""
    return [
        f"{inline(about.architecture)}{k}",
        f"{about.size:,} features",
        f"{inline(about.site)} of layer {about.layer}",
    ]


def _fit(encoding: Encoding) -> list[str]:
    return [
        f"L0 {encoding.active:,}",
        f"unexplained {percent(encoding.unexplained)}",
        f"cosine {signed(encoding.cosine)}",
        f"norm {encoding.norms[0]:.4g} → {encoding.norms[1]:.4g}",
    ]


def _features(value: results.StateEncoded, sheet: parts.Sheet) -> RenderableType:
    cells = 8 if sheet.width < parts.WIDE else 16
    table = parts.table(sheet, ">feature", ">activation", ">share", "", ">|w|", "pushes up", "pushes down")
    most = max(feature.share for feature in value.encoding.features)
    for feature in value.encoding.features:
        table.add_row(*_row(feature, most, cells))
    return table


def _row(feature: Feature, most: float, cells: int) -> tuple[str | Line, ...]:
    return (
        str(feature.index),
        _activation(feature.activation),
        percent(feature.share),
        f"{bar(feature.share / most if most else 0.0, cells):<{cells}}",
        f"{feature.norm:.3g}",
        parts.cell(" ".join(map(quoted, feature.up))),
        parts.cell(" ".join(map(quoted, feature.down))),
    )


def _activation(value: float) -> str:
    """A number that is not below 0, to a digit that says something."""
    return f"{value:,.2f}" if value == 0 or value >= 0.05 else f"{value:.1e}"
