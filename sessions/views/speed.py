"""What this machine does for the open model: `bench`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.views.blocks import AnyBlock, Column, Row, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted

_GB = 1e9


@viewed.register
def _(value: results.SpeedMeasured) -> Iterator[AnyBlock]:
    info = value.info
    yield facts(
        f"{info.name} {info.dtype} on {info.device}",
        f"decoding {info.decoding}" if info.decoding else "",
        counted(value.threads, "thread") if info.device == "cpu" else "",
        f"a copy moves {value.bandwidth / _GB:,.1f} GB a second",
        f"a token reads {value.read / _GB:,.2f} GB of weights",
        f"decoding reaches {value.share:.0%} of the bandwidth",
        "" if value.peak is None else f"peak {value.peak / _GB:,.2f} GB",
        timed=True,
        conclusion=True,
    )
    columns = (
        Column(key="what", title="what", kind="name"),
        Column(key="seconds", title="seconds", kind="number", digits=4),
        Column(key="rate", title="a second", kind="number", digits=1, drop=4),
        Column(key="counted", title="of", drop=3),
        Column(key="raw", title="plain call", kind="number", digits=4, drop=2, about="seconds of the plain call"),
        Column(key="ratio", title="ratio", kind="multiple", digits=2, about="seconds / those of the plain call"),
        Column(key="against", title="the plain call", drop=1),
    )
    rows = (
        Row(cells=(row.name, row.seconds, row.rate, row.counted, row.raw, row.ratio, row.against)) for row in value.rows
    )
    yield Table(columns=columns, rows=tuple(rows))
