"""Sparse autoencoders, and states in their features: `sae`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.directions.features import ARCHITECTURES, AutoencoderAbout, Encoding
from sessions.views.blocks import AnyBlock, Column, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import percent, quoted, signed


@viewed.register
def _(value: results.AutoencoderOpened) -> Iterator[AnyBlock]:
    about = value.about
    trained = f"trained on {about.model}" if about.model else ""
    yield facts(*_about(about), ARCHITECTURES.get(about.architecture, ""), trained)
    yield facts(
        "states not normalised" if about.normalised == "none" else f"states normalised: {about.normalised}",
        f"decoder bias {'' if about.centred else 'not '}subtracted first",
        about.page,
        about.source,
    )


def _about(about: AutoencoderAbout) -> tuple[str, ...]:
    """An autoencoder's architecture, size and site."""
    k = f" k={about.k}" if about.k else ""
    return f"{about.architecture}{k}", f"{about.size:,} features", f"{about.site} of layer {about.layer}"


@viewed.register
def _(value: results.StateEncoded) -> Iterator[AnyBlock]:
    found = value.encoding
    place = f"vector {value.vector}" if value.position is None else f"@{value.position} {quoted(value.token)}"
    yield facts(place, *_about(value.about))
    yield facts(
        f"L0 {found.active:,}",
        f"unexplained {percent(found.unexplained)}",
        f"cosine {signed(found.cosine)}",
        f"norm {found.norms[0]:.4g} → {found.norms[1]:.4g}",
    )
    if found.features:
        yield _features(found)
    page = found.features[0].page if found.features else ""
    yield facts(f"saved vector:{value.saved}" if value.saved else "", value.path, page)


def _features(found: Encoding) -> Table:
    """A row for each feature. The longest bar is the largest share."""
    most = max(feature.share for feature in found.features)
    columns = (
        Column(key="feature", title="feature", kind="index"),
        Column(key="activation", title="activation", kind="number", digits=2, drop=5),
        Column(key="share", title="share", kind="share", bar=most, drop=4),
        Column(key="norm", title="|w|", kind="number", drop=1),
        Column(key="up", title="pushes up", kind="token", drop=3),
        Column(key="down", title="pushes down", kind="token", drop=2),
    )
    rows = (
        Row(
            cells=(each.index, each.activation, each.share, each.norm, each.up, each.down),
            stands_for=StandsFor("feature", str(each.index)),
        )
        for each in found.features
    )
    return Table(columns=columns, rows=tuple(rows))
