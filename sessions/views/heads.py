"""Attention heads: `attention`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sessions import results
from sessions.heads.findings import RepeatedText, RepeatScores, SingularDirection, SplitScore
from sessions.model.units import Unit
from sessions.views.blocks import (
    AnyBlock,
    Cell,
    Column,
    Fact,
    Facts,
    Heat,
    Note,
    Row,
    StandsFor,
    Table,
)
from sessions.views.registry import facts, viewed, whole
from sessions.views.writing import MISSING, quoted, signed

_SCORES = (
    Column(
        key="induction", title="induct", kind="number", digits=2, drop=7, bar=1.0, rounded=True,
        about="attention to the token after the earlier occurrence, on repeated random tokens",
    ),
    Column(
        key="duplicate", title="dup", kind="number", digits=2, drop=5, rounded=True,
        about="attention to the earlier occurrence of the token, on repeated random tokens",
    ),
    Column(
        key="previous", title="prev", kind="number", digits=2, drop=6, rounded=True,
        about="attention to the previous token, on repeated random tokens",
    ),
)  # fmt: skip
_HEADS = (
    Column(key="head", title="head", kind="name"),
    Column(key="position", title="at", kind="index", drop=2, about="the position that the query attends to most"),
    Column(key="token", title="looks at", kind="token", drop=4),
    Column(key="weight", title="weight", kind="number", digits=2, drop=4),
    Column(
        key="entropy", title="entropy", kind="number", digits=2, drop=1, rounded=True, about="of the weights, in nats"
    ),
    Column(
        key="first",
        title="first",
        kind="number",
        digits=2,
        drop=3,
        rounded=True,
        about="weight on the first token: a sink",
    ),
    *_SCORES,
)


@viewed.register
def _(value: results.HeadTable) -> Iterator[AnyBlock]:
    made = f"{value.generated} of them generated" if value.generated else ""
    yield facts(
        f"{len(value.rows):,} heads, by {value.by}",
        f"query {quoted(value.token)} at {value.at} of {value.length:,} tokens",
        made,
        conclusion=True,
    )
    yield facts(*_repeated(value.repeated))
    yield _heads(value, value.listed)


@whole.register
def _(value: results.HeadTable) -> tuple[Table, ...]:
    return (_heads(value, len(value.rows)),)


def _heads(value: results.HeadTable, count: int) -> Table:
    rows = []
    for row in value.rows[:count]:
        cells: tuple[Cell, ...] = (str(row.neuron), row.position, row.token, row.weight, row.entropy, row.first)
        scores = (row.induction, row.duplicate, row.previous)
        rows.append(Row(cells=(*cells, *scores), stands_for=_of(row.neuron)))
    note = f"{count:,} of {len(value.rows):,} heads; --rows lists more" if count < len(value.rows) else ""
    return Table(columns=_HEADS, rows=tuple(rows), note=note)


def _of(unit: Unit) -> StandsFor:
    return StandsFor("head", str(unit))


def _repeated(text: RepeatedText) -> Iterator[str]:
    yield f"{text.length} random tokens, twice, rng {text.rng}"
    yield f"loss {text.first_loss:.2f} nats in the first half, {text.repeat_loss:.2f} where they repeat"


@viewed.register
def _(value: results.HeadCard) -> Iterator[AnyBlock]:
    head = value.neuron
    rank = f"{value.rank:,} of the circuit's {value.circuit_size:,}" if value.rank else ""
    shared = ", ".join(f"H{other}" for other in value.shared)
    yield facts(
        str(head),
        rank,
        "" if head.attribution is None else f"attribution {signed(head.attribution)}",
        "" if head.effect is None else f"effect {signed(head.effect)}",
        f"keys and values shared with {shared}" if shared else "",
        _looks(value),
        conclusion=True,
    )
    yield facts(*_scores(value.scores), *_repeated(value.repeated))
    if value.pattern:
        yield _pattern(value)
    yield _sources(value)
    yield from _split(value.split)
    yield Facts(items=tuple(_weights(value)))


def _looks(value: results.HeadCard) -> str:
    """The position that the query attends to most."""
    asking = f"{quoted(value.token(value.at))} at {value.at}"
    if not value.sources:
        return f"{asking} looks at nothing"
    first = value.sources[0]
    return f"{asking} looks at {quoted(first.token)} at {first.position}, weight {first.weight:.2f}"


def _scores(scores: RepeatScores) -> Iterator[str]:
    yield f"induction {scores.induction:.2f}"
    yield f"duplicate token {scores.duplicate:.2f}"
    yield f"previous token {scores.previous:.2f}"


def _pattern(value: results.HeadCard) -> Heat:
    def named(positions: Sequence[int]) -> tuple[str, ...]:
        return tuple(f"{position} {value.token(position)}" for position in positions)

    return Heat(
        title="weights from the query (rows) to what it attends to (columns)",
        rows=named(value.queries),
        columns=named(value.columns),
        cells=value.pattern,
    )


def _sources(value: results.HeadCard) -> Table:
    """The positions that the query attends to most."""
    scored = any(source.score is not None for source in value.sources)
    largest = max((source.weight for source in value.sources), default=0.0)
    columns = (
        Column(key="position", title="pos", kind="index"),
        Column(key="token", title="token", kind="token", drop=3),
        Column(key="weight", title="weight", kind="number", digits=3, bar=largest, drop=4, rounded=True),
        *([Column(key="score", title="score", kind="signed", digits=2, drop=2, about="before the softmax")] * scored),
    )
    rows = tuple(
        Row(
            cells=(source.position, source.token, source.weight, *((source.score,) if scored else ())),
            stands_for=StandsFor("position", str(source.position)),
        )
        for source in value.sources
    )
    left = value.total - sum(source.weight for source in value.sources)
    note = [f"query {quoted(value.token(value.at))} at {value.at}", f"entropy {value.entropy:.2f} nats"]
    note += [f"{left:.3f} on other positions"] if left > 5e-4 else []
    note += [f"{1 - value.total:.3f} in its sink"] if value.total < 0.999 else []
    return Table(columns=columns, rows=rows, note=" · ".join(note))


def _split(splits: Sequence[SplitScore]) -> Iterator[AnyBlock]:
    """What makes each score: by the parts of the query's stream, those of the source's, and their pairs."""
    if not splits:
        return
    yield Note(
        text="scores as sums over the parts of both streams: an embedding, a head, an MLP (L3/*), constants",
    )
    for split in splits:
        yield _parts(split)


def _parts(split: SplitScore) -> Table:
    source = split.source_at
    columns = (
        Column(key="query_part", title="query part", kind="name", drop=4),
        Column(key="query_value", title="adds", kind="signed", digits=2, drop=4),
        Column(key="source_part", title="source part", kind="name", drop=3),
        Column(key="source_value", title="adds", kind="signed", digits=2, drop=3),
        Column(key="pair", title="pair, query × source", kind="name"),
        Column(key="pair_value", title="adds", kind="signed", digits=2),
    )
    rows = []
    for query, offered, pair in zip(split.query, split.source, split.pairs, strict=True):
        cells = (query.name, query.value, offered.name, offered.value, f"{pair.query} × {pair.source}", pair.value)
        rows.append(Row(cells=cells, stands_for=_named(offered.name)))
    of_pairs = (source.score or 0.0) - sum(pair.value for pair in split.pairs)
    rows.append(Row(cells=("others", split.query_rest, "others", split.source_rest, "others", of_pairs)))
    title = f"score {signed(source.score, 2)} of {quoted(source.token)} at {source.position}"
    return Table(columns=columns, rows=tuple(rows), title=title)


def _named(part: str) -> StandsFor | None:
    """What a part stands for: a head, or all neurons of a layer."""
    if "/H" in part:
        return StandsFor("head", part)
    return StandsFor("neuron", part) if part.endswith("/*") else None


def _weights(value: results.HeadCard) -> Iterator[Fact]:
    """What it writes at the query, and what its maps read and write."""
    if value.norm is not None:
        yield Fact(f"norm {value.norm:.3g}, at {quoted(value.token(value.at))}", "writes")
        yield Fact(_tokens(value.up), "pushes up")
        yield Fact(_tokens(value.down), "pushes down")
    for name, verb, directions in (("OV", "writes", value.ov), ("QK", "attends to", value.qk)):
        for number, direction in enumerate(directions, 1):
            yield Fact("", f"{name} {number}, {direction.share:.0%}", tuple(_sides(direction, verb)))


def _sides(direction: SingularDirection, verb: str) -> Iterator[str]:
    yield f"{_tokens(direction.read)} {verb} {_tokens(direction.written)}"
    yield f"{_tokens(direction.read_against)} {verb} {_tokens(direction.written_against)}"


def _tokens(tokens: tuple[str, ...]) -> str:
    return " ".join(map(quoted, tokens)) or MISSING
