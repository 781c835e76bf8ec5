"""What neurons do over a corpus: the results of `atlas` and `quiet`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.atlas.findings import Peak, Profile
from sessions.views.writing import counted
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, facts, fitted, inline, percent, quoted, signed

#: Quantiles that are shown.
_SHOWN = (0.05, 0.5, 0.95)


@shown.register
def _(value: results.AtlasBuilt, sheet: parts.Sheet) -> Iterator[RenderableType]:
    first, last = value.layers[0], value.layers[-1]
    layers = f"layer {first}" if first == last else f"layers {first}–{last}"
    documents = counted(value.documents, "document")
    pace = f"{value.documents / sheet.seconds:,.1f} documents a second" if sheet.seconds else ""
    yield facts(
        [
            f"built {inline(value.name)}",
            f"{documents} of {inline(value.corpus)}",
            f"{value.tokens:,} positions",
            f"{value.neurons:,} neurons of {layers}",
            f"{value.k} maxima of each sign",
            pace,
            f"at most {value.bytes / 2**20:,.0f} MiB",
        ],
        sheet.width,
    )
    yield facts([inline(value.path)], sheet.width)


@shown.register
def _(value: results.AtlasShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    profile = value.profile
    yield facts([str(profile.neuron), *standing(profile)], sheet.width)
    yield facts(spread(profile), sheet.width)
    for peaks in (profile.high, profile.low):
        if peaks:
            yield contexts(peaks[: value.listed], sheet)
    most = max(len(profile.high), len(profile.low))
    if most > value.listed:
        yield parts.dim(Line(f"{value.listed:,} of {most:,} maxima of each sign"))


def standing(profile: Profile) -> Iterator[str]:
    """Over what a profile was taken, fact by fact."""
    yield f"atlas {inline(profile.atlas)}" if profile.atlas else "atlas"
    yield f"{counted(profile.documents, 'document')} of {inline(profile.corpus)}"
    yield counted(profile.count, "position")


def spread(profile: Profile) -> Iterator[str]:
    """What it was on average, fact by fact."""
    yield f"mean {signed(profile.mean)}"
    yield f"std {profile.std:.3g}"
    yield f"mean size {profile.size:.3g}"
    yield f"fires at {percent(profile.rate)}"
    for share, at in profile.quantiles:
        if share in _SHOWN:
            yield f"{share:.0%} below {signed(at)}"


def contexts(peaks: Sequence[Peak], sheet: parts.Sheet) -> Table:
    """Maxima, each with the tokens around it, the one it stands at marked."""
    table = parts.table(sheet, ">act", ">doc", ">pos", "context")
    beside = 10 + max(len(f"{each.document:,}{each.position:,}") for each in peaks) + 8
    for each in peaks:
        table.add_row(
            signed(each.value, 2),
            f"{each.document:,}",
            f"{each.position:,}",
            parts.cell(context(each, max(20, sheet.width - beside))),
        )
    return table


def context(peak: Peak, width: int) -> str:
    """The tokens around a maximum on one line, `…before ▸token◂ after…`, the token itself never cut away."""
    token = f"▸{inline(peak.token)}◂"
    before, after = inline("".join(peak.before)), inline("".join(peak.after))
    room = max(1, (width - cell_len(token)) // 2)
    if cell_len(before) > room:
        while cell_len(before) >= room:
            before = before[1:]
        before = f"…{before}"
    return fitted(f"{before}{token}{after}", width)


@shown.register
def _(value: results.AtlasTop, sheet: parts.Sheet) -> Iterator[RenderableType]:
    table = parts.table(sheet, "neuron", ">act", ">mean", ">std", ">fires", "pushes up", "context")
    for row in value.rows:
        table.add_row(
            str(row.neuron),
            signed(row.peak.value, 2),
            signed(row.mean, 2),
            f"{row.std:.2g}",
            percent(row.rate),
            parts.cell(fitted(" ".join(map(quoted, row.up)) or MISSING, 12 if sheet.width < parts.WIDE else 30)),
            parts.cell(context(row.peak, max(16, sheet.width - (50 if sheet.width < parts.WIDE else 78)))),
        )
    if value.rows:
        yield table
    ranked = ", the highest above 0 first" if value.by == "positive" else ""
    of = f"{len(value.rows):,} of {value.total:,} neurons of layer {value.layer}{ranked}"
    yield facts([of, f"atlas {inline(value.atlas)}", inline(value.corpus)], sheet.width)


@shown.register
def _(value: results.QuietShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    contrast = bool(value.regions)
    headings = [">largest", ">mean", *([">silent", ">mean", ">ratio"] if contrast else [])]
    table = parts.table(sheet, "neuron", *headings, "pushes up", "pushes down")
    room = max(8, (sheet.width - (60 if contrast else 38)) // 2)
    for row in value.rows:
        numbers = [row.largest, row.mean, *([row.silent, row.silent_mean] if contrast else [])]
        table.add_row(
            str(row.neuron),
            *(MISSING if number is None else f"{number:.3g}" for number in numbers),
            *([MISSING if row.ratio is None else f"{row.ratio:.1f}×"] if contrast else []),
            *(parts.cell(fitted(" ".join(map(quoted, each)) or MISSING, room)) for each in (row.up, row.down)),
        )
    if value.rows:
        yield table
    where = [f"active in the {value.regions[0]}, silent in the {value.regions[1]}"] if contrast else []
    counts = " and ".join(f"{count:,}" for count in value.positions)
    yield facts(
        [
            f"{len(value.rows):,} of {value.total:,} that fit, among {value.neurons:,} neurons",
            *where,
            f"{inline(value.over)}, {counts} positions",
        ],
        sheet.width,
    )
