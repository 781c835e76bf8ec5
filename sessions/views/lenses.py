"""Predictions between the layers, logits by component, and fitted lenses: `lens`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from sessions import results
from sessions.lenses.findings import EMBEDDINGS, HeadPart, LensLayer, LensRow, LogitPart
from sessions.views.blocks import AnyBlock, Column, Curve, Heat, HeatScale, Line, Note, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import aim, chance, counted, inline, quoted, signed

_LAYER = Column(key="layer", title="L", kind="index", words=((float(EMBEDDINGS), "embed"),))
#: Likeliest tokens of a layer behind the first that a row shows.
_MORE = 2
#: The measures that are drawn, in words.
_MEASURES = {
    "entropy": "entropy in nats",
    "kl": "KL(model ‖ lens) in nats",
    "top": "p of the likeliest token",
}


def _name(layer: int) -> str:
    return "embed" if layer == EMBEDDINGS else f"L{layer}"


@viewed.register
def _(value: results.LensRead) -> Iterator[AnyBlock]:
    lens = f"lens {value.lens}, {value.lens_kind}" if value.lens else "logit lens"
    yield facts(
        lens,
        f"{counted(len(value.layers), 'layer')} × {counted(len(value.tokens), 'position')}",
        f"the model wrote {quoted(''.join(value.tokens[-value.generated :]))}" if value.generated else "",
    )
    token = value.tokens[value.position - value.first]
    yield facts(f"behind {quoted(token)}, position {value.position}", *_conclusions(value), conclusion=True)
    yield _layers(value)
    yield _curve(value)
    yield _map(value)
    if value.of == "top":
        yield _tokens(value)


def _target(value: results.LensRead) -> str:
    """The token that is measured at the chosen position."""
    return value.targets[value.position - value.first]


def _conclusions(value: results.LensRead) -> Iterator[str]:
    """From which layer on the target is the likeliest, and how sure the model is of it at the end."""
    target, last = quoted(_target(value)), value.rows[-1]
    since = next((row.layer for row in _since(value.rows)), None)
    if since is None:
        yield f"{target} ranks {last.rank:,} at the end"
    else:
        yield f"{target} is first from {_name(since)} on"
    yield f"p {chance(last.probability)} at the end"


def _since(rows: tuple[LensRow, ...]) -> Iterator[LensRow]:
    """The rows from the first of those at the end at which the target is the likeliest token."""
    first = len(rows)
    while first and rows[first - 1].rank == 1:
        first -= 1
    return iter(rows[first:])


def _layers(value: results.LensRead) -> Table:
    """A row for each layer at the chosen position."""
    columns = (
        _LAYER,
        Column(key="token", title="likeliest", kind="token"),
        Column(key="top", title="p", kind="number", digits=3, drop=4),
        Column(key="next", title="then", kind="token", drop=1),
        Column(
            key="probability", title=f"p {inline(quoted(_target(value)))}", kind="number", digits=3, bar=1.0, drop=6
        ),
        Column(key="rank", title="rank", kind="number", drop=5),
        Column(key="entropy", title="entropy", kind="number", digits=2, drop=2),
        Column(key="kl", title="KL", kind="number", digits=2, rounded=True, drop=3),
    )
    rows = tuple(
        Row(
            cells=(
                row.layer,
                row.tokens[0] if row.tokens else None,
                row.top_probability,
                row.tokens[1 : 1 + _MORE],
                row.probability,
                row.rank,
                row.entropy,
                row.kl,
            ),
            stands_for=None if row.layer == EMBEDDINGS else StandsFor("neuron", f"L{row.layer}/*"),
        )
        for row in value.rows
    )
    return Table(columns=columns, rows=rows, note="entropy and KL(model ‖ lens) in nats")


def _measured(value: results.LensRead) -> str:
    """What the map shows, in words."""
    if value.of in _MEASURES:
        return _MEASURES[value.of]
    of = "each position's likeliest token" if value.target is None else quoted(value.target.text)
    return f"log10 of the rank of {of}" if value.of == "rank" else f"p of {of}"


def _cells(layer: LensLayer, of: str) -> tuple[float, ...]:
    """The measure at each position."""
    if of == "rank":
        return tuple(math.log10(max(rank, 1)) for rank in layer.rank)
    if of == "top":
        return layer.top_probability
    return {"entropy": layer.entropy, "kl": layer.kl}.get(of, layer.probability)


def _map(value: results.LensRead) -> Heat:
    """Layers, the last one on top, by positions."""
    cells = tuple(_cells(layer, value.of) for layer in reversed(value.layers))
    known = [cell for row in cells for cell in row if math.isfinite(cell)]
    scale = None
    if value.of == "rank":
        worst = max(known, default=0.0) or 1.0
        scale = HeatScale(start=worst, end=0.0, names=(f"rank {10**worst:,.0f}", "rank 1"))
    return Heat(
        title=f"{_measured(value)}, by layer (rows) and position",
        rows=tuple(_name(layer.layer) for layer in reversed(value.layers)),
        columns=_positions(value),
        cells=cells,
        scale=scale,
    )


def _positions(value: results.LensRead) -> tuple[str, ...]:
    """The positions with their tokens."""
    return tuple(f"{value.first + place} {token.strip()}" for place, token in enumerate(value.tokens))


def _curve(value: results.LensRead) -> Curve:
    """The measure over the layers at the chosen position."""
    of: dict[str, Callable[[LensRow], float]] = {
        "entropy": lambda row: row.entropy,
        "kl": lambda row: row.kl,
        "rank": lambda row: math.log10(max(row.rank, 1)),
    }
    target = quoted(_target(value))
    if value.of in of:
        title = f"log10 of the rank of {target}" if value.of == "rank" else _MEASURES[value.of]
        lines = [_line(title, value.rows, of[value.of])]
    else:
        title = "probability"
        lines = [
            _line(target, value.rows, lambda row: row.probability),
            _line("the likeliest", value.rows, lambda row: row.top_probability),
        ]
    return Curve(title=f"{title} at position {value.position}", x="layer", lines=tuple(lines), tabled=True)


def _line(name: str, rows: tuple[LensRow, ...], of: Callable[[LensRow], float]) -> Line:
    return Line(name=name, points=tuple((float(row.layer), of(row)) for row in rows))


def _tokens(value: results.LensRead) -> Table:
    """The likeliest token of each layer at each position; the first positions are dropped first."""
    columns = (
        _LAYER,
        *(
            Column(key=f"at_{value.first + place}", title=inline(name), kind="token", drop=place + 1)
            for place, name in enumerate(_positions(value))
        ),
    )
    rows = tuple(Row(cells=(layer.layer, *layer.top)) for layer in reversed(value.layers))
    return Table(columns=columns, rows=rows, title="the likeliest token, by layer and position")


# ---- components of a logit


@viewed.register
def _(value: results.LogitComponents) -> Iterator[AnyBlock]:
    yield facts(
        f"{aim(value.target)} = {signed(value.target.value)}",
        f"behind {quoted(value.token)}, position {value.position}",
        counted(len(value.parts), "component"),
        counted(len([head for head in value.heads if head.head is not None]), "head") if value.heads else "",
    )
    sums = ((kind, [part.value for part in value.parts if part.kind == kind]) for kind in _KINDS)
    said = [
        f"{name} {signed(sum(values))}" for (kind, values), name in zip(sums, _KINDS.values(), strict=True) if values
    ]
    yield facts(*said, f"rounding {signed(value.rest)}" if value.rest else "", conclusion=True)
    yield _strongest(value)
    yield _by_layer(value)
    if value.heads:
        yield _heads(value)


#: Kinds of components, and what they are called together.
_KINDS = {
    "embeddings": "embeddings",
    "attention": "attention",
    "mlp": "MLPs",
    "per-layer embeddings": "per-layer embeddings",
    "biases": "biases of norm and head",
}


def _component(part: LogitPart) -> tuple[str, StandsFor | None]:
    """The name of a component, and what stands for it."""
    if part.layer is None:
        return ("norm and head" if part.kind == "biases" else part.kind), None
    if part.kind == "mlp":
        return f"L{part.layer} MLP", StandsFor("neuron", f"L{part.layer}/*")
    return f"L{part.layer} {part.kind}", None


def _strongest(value: results.LogitComponents) -> Table:
    """The strongest components and heads, each with its share of what all of them add, whatever the sign."""
    entries: list[tuple[str, float, StandsFor | None]] = []
    for part in value.parts:
        name, stands_for = _component(part)
        entries.append((name, part.value, stands_for))
    split = {head.layer for head in value.heads}
    entries = [entry for entry, part in zip(entries, value.parts, strict=True) if not _is_split(part, split)]
    entries += [_head(head) for head in value.heads]
    entries.sort(key=lambda entry: -abs(entry[1]))
    longest = abs(entries[0][1]) if entries else 0.0
    whole = sum(abs(adds) for _, adds, _ in entries)  # the target itself may be near 0
    columns = (
        Column(key="component", title="component", kind="name"),
        Column(key="adds", title="adds", kind="signed", bar=longest, drop=2),
        Column(key="share", title="of all", kind="signed share", drop=1, about="share of all |adds|"),
    )
    rows = tuple(
        Row(cells=(name, adds, adds / whole if whole else None), stands_for=stands_for)
        for name, adds, stands_for in entries[: value.listed]
    )
    left = len(entries) - len(rows)
    note = f"the {len(rows)} strongest of {len(entries)}; --rows shows more" if left else ""
    return Table(columns=columns, rows=rows, title="components", note=note)


def _is_split(part: LogitPart, layers: set[int]) -> bool:
    """Whether heads stand for a part."""
    return part.kind == "attention" and part.layer in layers


def _head(head: HeadPart) -> tuple[str, float, StandsFor | None]:
    if head.head is None:
        return f"L{head.layer} attention bias", head.value, None
    name = f"L{head.layer}/H{head.head}"
    return name, head.value, StandsFor("head", name)


def _by_layer(value: results.LogitComponents) -> Curve:
    """What the attention and the MLP of each layer add."""
    lines = []
    for kind, name in (("attention", "attention"), ("mlp", "MLP")):
        points = tuple(
            (float(part.layer), part.value) for part in value.parts if part.kind == kind and part.layer is not None
        )
        lines.append(Line(name=name, points=points))
    return Curve(title="added to the target", x="layer", lines=tuple(lines))


def _heads(value: results.LogitComponents) -> Heat:
    """Heads by layer (rows)."""
    known = {(head.layer, head.head): head.value for head in value.heads if head.head is not None}
    layers = sorted({layer for layer, _ in known}, reverse=True)
    heads = sorted({head for _, head in known})
    return Heat(
        title="|added to the target| by layer (rows) and head",
        rows=tuple(f"L{layer}" for layer in layers),
        columns=tuple(f"H{head}" for head in heads),
        cells=tuple(tuple(known.get((layer, head)) for head in heads) for layer in layers),
    )


# ---- fitted lenses


@viewed.register
def _(value: results.LensFitted) -> Iterator[AnyBlock]:
    about = value.about
    yield facts(
        f"lens {value.name}, {about.kind}",
        counted(len(value.layers), "layer"),
        value.model,
        f"over {about.over}",
        value.path,
    )
    yield facts(about.recipe, counted(about.texts, "text"), counted(about.tokens, "position"))
    if not about.quality:
        yield Note(text="no text was held out: how good it is was not measured")
        return
    plain = sum(row.plain for row in about.quality) / len(about.quality)
    fitted = sum(row.fitted for row in about.quality) / len(about.quality)
    yield facts(
        f"KL(model ‖ lens) {fitted:.2f} nats, logit lens {plain:.2f}",
        f"mean of the layers, on {counted(about.held_out, 'position')} held out",
        conclusion=True,
    )
    columns = (
        _LAYER,
        Column(key="plain", title="logit lens", kind="number", digits=3),
        Column(key="fitted", title="this lens", kind="number", digits=3),
    )
    rows = tuple(Row(cells=(row.layer, row.plain, row.fitted)) for row in about.quality)
    yield Table(columns=columns, rows=rows, title="KL(model ‖ lens) in nats", note="on texts that were held out")
    if len(about.quality) > 1:
        lines = (
            Line(name="logit lens", points=tuple((float(row.layer), row.plain) for row in about.quality)),
            Line(name="this lens", points=tuple((float(row.layer), row.fitted) for row in about.quality)),
        )
        yield Curve(title="KL(model ‖ lens) in nats", x="layer", lines=lines, tabled=True)
