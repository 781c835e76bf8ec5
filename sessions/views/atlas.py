"""What neurons do over a corpus: `atlas`, `quiet`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sessions import results
from sessions.atlas.findings import Peak, Profile, QuietRow
from sessions.views.blocks import AnyBlock, Cell, Column, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted, percent, signed

#: Quantiles that are shown.
_QUANTILES = (0.05, 0.5, 0.95)


@viewed.register
def _(value: results.AtlasBuilt) -> Iterator[AnyBlock]:
    first, last = value.layers[0], value.layers[-1]
    layers = f"layer {first}" if first == last else f"layers {first}–{last}"
    yield facts(
        f"built {value.name}",
        f"{counted(value.documents, 'document')} of {value.corpus}",
        f"{value.tokens:,} positions",
        f"{value.neurons:,} neurons of {layers}",
        f"{value.k} maxima of each sign",
        f"at most {value.bytes / 2**20:,.0f} MiB",
        timed=True,
    )
    yield facts(value.path)


@viewed.register
def _(value: results.AtlasShown) -> Iterator[AnyBlock]:
    profile = value.profile
    yield facts(str(profile.neuron), *corpus_facts(profile))
    yield facts(*spread_facts(profile))
    for title, maxima in (("highest", profile.high), ("lowest", profile.low)):
        if maxima:
            more = f", {value.listed:,} of {len(maxima):,}" if value.listed < len(maxima) else ""
            yield peaks(maxima[: value.listed], f"{title} activations{more}")


def corpus_facts(profile: Profile) -> Iterator[str]:
    """The atlas and corpus of a profile."""
    yield f"atlas {profile.atlas}" if profile.atlas else "atlas"
    yield f"{counted(profile.documents, 'document')} of {profile.corpus}"
    yield counted(profile.count, "position")


def spread_facts(profile: Profile) -> Iterator[str]:
    """A neuron's mean, spread and quantiles."""
    yield f"mean {signed(profile.mean)}"
    yield f"std {profile.std:.3g}"
    yield f"mean size {profile.size:.3g}"
    yield f"fires at {percent(profile.rate)}"
    for share, at in profile.quantiles:
        if share in _QUANTILES:
            yield f"{share:.0%} below {signed(at)}"


_NEURON = Column(key="neuron", title="neuron", kind="name")
_PEAK = Column(key="activation", title="act", kind="signed", digits=2, drop=9)
_CONTEXT = Column(key="context", title="context", kind="context", drop=8)


def peaks(maxima: Sequence[Peak], title: str = "") -> Table:
    """A row for each maximum: its place in the corpus, and the tokens around it."""
    columns = (
        Column(key="document", title="doc", kind="index"),
        Column(key="position", title="pos", kind="index"),
        _PEAK,
        _CONTEXT,
    )
    rows = (
        Row(
            cells=(peak.document, peak.position, peak.value, _context(peak)),
            stands_for=StandsFor("document", str(peak.document)),
        )
        for peak in maxima
    )
    return Table(title=title, columns=columns, rows=tuple(rows))


def _context(peak: Peak) -> tuple[str, ...]:
    return "".join(peak.before), peak.token, "".join(peak.after)


@viewed.register
def _(value: results.AtlasTop) -> Iterator[AnyBlock]:
    mean = Column(key="mean", title="mean", kind="signed", digits=2, drop=3)
    std = Column(key="std", title="std", kind="number", digits=2, drop=2)
    rate = Column(key="rate", title="fires", kind="share", drop=7)
    up = Column(key="up", title="pushes up", kind="token", drop=6)
    rows = []
    for row in value.rows:
        cells = (str(row.neuron), row.peak.value, row.mean, row.std, row.rate, row.up, _context(row.peak))
        rows.append(Row(cells=cells, stands_for=StandsFor("neuron", str(row.neuron))))
    if rows:
        yield Table(columns=(_NEURON, _PEAK, mean, std, rate, up, _CONTEXT), rows=tuple(rows))
    ranked = ", the highest above 0 first" if value.by == "positive" else ""
    listed = f"{len(value.rows):,} of {value.total:,} neurons of layer {value.layer}{ranked}"
    yield facts(listed, f"atlas {value.atlas}", value.corpus)


@viewed.register
def _(value: results.QuietShown) -> Iterator[AnyBlock]:
    if value.rows:
        yield _quiet(value.rows, value.regions)
    positions = " and ".join(f"{count:,}" for count in value.positions)
    yield facts(
        f"{len(value.rows):,} of {value.total:,} that fit, among {value.neurons:,} neurons",
        "active in the {}, silent in the {}".format(*value.regions) if value.regions else "",
        f"{value.over}, {positions} positions",
    )


def _quiet(quiet: Sequence[QuietRow], regions: tuple[str, ...]) -> Table:
    """A row for each neuron: its largest and mean size; with `regions`, in both of them."""
    measures = ("largest", "mean") if not regions else (f"{regions[0]} max", "mean", f"{regions[1]} max", "mean")
    keys = ("largest", "mean", "silent", "silent_mean")
    numbers = [
        Column(key=key, title=title, kind="number", drop=drop)
        for key, title, drop in zip(keys, measures, (7, 4, 6, 3), strict=False)
    ]
    if regions:
        about = f"{regions[0]} max over {regions[1]} max"
        numbers.append(Column(key="ratio", title="ratio", kind="multiple", digits=1, drop=5, about=about))
    rows = []
    for row in quiet:
        contrast: tuple[Cell, ...] = (row.silent, row.silent_mean, row.ratio) if regions else ()
        cells = (str(row.neuron), row.largest, row.mean, *contrast, row.up, row.down)
        rows.append(Row(cells=cells, stands_for=StandsFor("neuron", str(row.neuron))))
    up = Column(key="up", title="pushes up", kind="token", drop=2)
    down = Column(key="down", title="pushes down", kind="token", drop=1)
    return Table(columns=(_NEURON, *numbers, up, down), rows=tuple(rows))
