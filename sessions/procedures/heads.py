"""What `attention` shows of a session's heads, gathered from the prompt, a text of repeated tokens, and the weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from sessions.errors import ModelError, UsageError
from sessions.events import Progress, Steps
from sessions.heads.findings import HeadRow, RepeatScores, SingularDirection, Source, SplitScore
from sessions.interventions.answering import ConditionedPrompt
from sessions.interventions.arms import Condition
from sessions.model.info import Encoded
from sessions.model.units import Unit
from sessions.procedures.generating import decoded, extended
from sessions.procedures.neuron_card import is_meant
from sessions.procedures.states import marked_in
from sessions.results import HeadCard, HeadTable
from sessions.session import Session

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.model.opening import OpenModel

#: Singular directions of a map that are shown, sources whose scores are split, and parts of a score that are listed.
DIRECTIONS, SPLIT, PARTS = 3, 3, 5
#: Orders of the table: the name of a head's number, and whether its largest comes first.
ORDERS = {
    "induction": True,
    "duplicate": True,
    "previous": True,
    "first": True,
    "weight": True,
    "entropy": False,
    "layer": False,
}


class ReadText(NamedTuple):
    """The session's prompt, the text that begins with it, and how many tokens of that the model wrote."""

    row: ConditionedPrompt
    encoded: Encoded
    generated: int


def read_text(session: Session, generate: int | None) -> Steps[ReadText]:
    """The session's prompt, continued by at most `generate` tokens under what is live."""
    encoded = session.encoded()
    row = (encoded, Condition("", session.in_force))
    if generate is None:
        return ReadText(row, encoded, 0)
    from sessions.interventions.answering import complete_rows

    opened = session.opened()
    (arm,), _ = yield from complete_rows(opened, [row], decoded(session, max_tokens=generate), cancel=session.cancel)
    longer = extended(session, encoded, arm)
    opened.anatomy.check_length(len(longer.ids))
    return ReadText(row, longer, len(arm.ids))


def heads_at(
    session: Session, *, layer: int | None, at: str, by: str, listed: int | None, generate: int | None
) -> Steps[HeadTable]:
    """All heads of a layer, or of all layers, at one query."""
    from sessions.heads.patterns import read_patterns
    from sessions.heads.repeating import repeat_scores

    opened = session.opened()
    layers = _layers(opened, layer)
    text = yield from read_text(session, generate)
    notes: list[str] = []
    query = marked_in(text.encoded, at, None, notes)
    weights: dict[int, Tensor] = {}

    def hear(number: int, first: int, block: Tensor) -> None:
        if first <= query < first + block.shape[1]:
            weights[number] = block[:, query - first].float().cpu()

    yield Progress("reading patterns")
    read_patterns(opened, text.row, text.encoded.ids, layers, hear, cancel=session.cancel)
    yield Progress("scoring on repeated tokens")
    scores, repeated = repeat_scores(opened, layers, session.in_force, session.settings.rng, session.cancel)
    rows = [
        _head_row(Unit(number, head, kind="head"), weights[number][head], text.encoded.tokens, scores[number][head])
        for number in layers
        for head in range(opened.anatomy.heads_of(number).n_heads)
    ]
    if by != "layer":
        rows.sort(key=lambda row: getattr(row, by), reverse=ORDERS[by])
    return HeadTable(
        at=query,
        token=text.encoded.tokens[query],
        length=len(text.encoded.ids),
        generated=text.generated,
        by=by,
        rows=tuple(rows),
        listed=min(len(rows), len(rows) if layer is not None and listed is None else listed or session.settings.rows),
        repeated=repeated,
        notes=tuple(notes),
    )


def _layers(opened: OpenModel, layer: int | None) -> list[int]:
    """The layers that are read: one, or all that have heads."""
    from sessions.model.info import HEADS

    anatomy = opened.anatomy
    anatomy.require(HEADS)
    if layer is not None:
        anatomy.heads_of(layer)
        return [layer]
    return [number for number, count in enumerate(anatomy.counts("head")) if count]


def _head_row(head: Unit, weights: Tensor, tokens: tuple[str, ...], scores: RepeatScores) -> HeadRow:
    strongest = int(weights.argmax())
    return HeadRow(
        neuron=head,
        position=strongest,
        token=tokens[strongest],
        weight=float(weights[strongest]),
        entropy=_entropy(weights),
        first=float(weights[0]),
        scores=scores,
    )


def _entropy(weights: Tensor) -> float:
    """Of a query's weights, in nats; where a sink takes a part, of what is left."""
    import torch

    return float(torch.special.entr(weights / weights.sum().clamp(min=1e-12)).sum())


def head_card(
    session: Session, *, text: str, at: str | None, last: int, sources: int, tokens: int, generate: int | None
) -> Steps[HeadCard]:
    """The card of the head that a text names, or of one query of it."""
    from sessions.heads.patterns import read_patterns
    from sessions.heads.repeating import repeat_scores

    opened = session.opened()
    head, place = one_head(session, text)
    if place and at is not None:
        raise UsageError(f"'{text}' and --at both name a query", "leave one of them out")
    site = opened.anatomy.heads_of(head.layer)
    opened.anatomy.coordinates(head)
    read = yield from read_text(session, generate)
    encoded, notes = read.encoded, list[str]()
    query = marked_in(encoded, at or place or "-1", None, notes)
    length = len(encoded.ids)
    whole = at is None and not place
    begin = max(0, length - last) if whole else query
    blocks: list[tuple[int, Tensor]] = []

    def hear(_: int, first: int, weights: Tensor) -> None:
        wanted = range(max(first, begin), min(first + weights.shape[1], length if whole else query + 1))
        blocks.extend((number, weights[head.index, number - first].float().cpu()) for number in wanted)

    yield Progress("reading its pattern")
    read_patterns(opened, read.row, encoded.ids, [head.layer], hear, cancel=session.cancel)
    yield Progress("scoring on repeated tokens")
    scores, repeated = repeat_scores(opened, [head.layer], session.in_force, session.settings.rng, session.cancel)
    weights = next(row for number, row in blocks if number == query)
    strongest = weights.topk(min(sources, query + 1)).indices.tolist()
    maps = yield from _maps(session, read, head, query, strongest, tokens, notes, split=not whole)
    listed = tuple(
        Source(s, encoded.tokens[s], float(weights[s]), maps.scores.get(s)) for s in strongest if float(weights[s]) > 0
    )
    columns = tuple(sorted({0, *range(begin, length)})) if whole else ()
    if whole and begin:
        notes.append(
            f"the pattern of the last {last} of {length:,} tokens, and the first; --at shows one query over all"
        )
    known, rank = _in_circuit(session, head)
    group = site.n_heads // max(1, site.n_key_heads)
    return HeadCard(
        neuron=known,
        rank=rank,
        circuit_size=0 if session.circuit is None else len(session.circuit.neurons),
        tokens=encoded.tokens,
        generated=read.generated,
        at=query,
        sources=listed,
        entropy=_entropy(weights),
        total=float(weights.sum()),
        queries=tuple(number for number, _ in blocks) if whole else (),
        columns=columns,
        pattern=tuple(_pattern_row(number, row, columns) for number, row in blocks) if whole else (),
        scores=scores[head.layer][head.index],
        repeated=repeated,
        shared=tuple(
            other for other in range(site.n_heads) if other // group == head.index // group and other != head.index
        ),
        norm=maps.norm,
        up=maps.up,
        down=maps.down,
        ov=maps.ov,
        qk=maps.qk,
        split=maps.split,
        notes=tuple(notes),
    )


def one_head(session: Session, text: str) -> tuple[Unit, str]:
    """The one head that a selection means, and its position as a word, "" without one.

    Raises:
        UsageError: it means several units, or another kind.
    """
    chosen = session.select(text, length=0).neurons
    if len(chosen) > 1:
        raise UsageError(
            f"'{text}' is {len(chosen):,} units, and a card shows one head", "for example: attention L5/H3"
        )
    (unit,) = chosen
    if unit.kind != "head":
        other = f"{unit.kind} {unit.bare}"
        raise UsageError(f"'{text}' is the {other}, and attention shows heads", "for example: attention L5/H3")
    return unit.bare, "" if unit.position is None else str(unit.position)


def _pattern_row(query: int, weights: Tensor, columns: tuple[int, ...]) -> tuple[float | None, ...]:
    return tuple(round(float(weights[column]), 4) if column <= query else None for column in columns)


def _in_circuit(session: Session, head: Unit) -> tuple[Unit, int]:
    """The head with what the circuit knows of it, and its rank there, 0 where it is not in it."""
    ranked = () if session.circuit is None else session.circuit.neurons
    hits = [(rank, unit) for rank, unit in enumerate(ranked, 1) if is_meant(unit, head)]
    if not hits:
        return head, 0
    attributions = [unit.attribution for _, unit in hits if unit.attribution is not None]
    effect = hits[0][1].effect if len(hits) == 1 else None
    known = structs.replace(head, attribution=sum(attributions) if attributions else None, effect=effect)
    return known, hits[0][0]


class _FromMaps(NamedTuple):
    """What the maps of a head tell; empty where the family hides them."""

    scores: Mapping[int, float] = MappingProxyType({})
    norm: float | None = None
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    ov: tuple[SingularDirection, ...] = ()
    qk: tuple[SingularDirection, ...] = ()
    split: tuple[SplitScore, ...] = ()


def _maps(
    session: Session,
    read: ReadText,
    head: Unit,
    query: int,
    strongest: list[int],
    tokens: int,
    notes: list[str],
    *,
    split: bool,
) -> Steps[_FromMaps]:
    """What the head's maps tell at a query; a remark where the family does not show them."""
    from sessions.directions.lens import through_head
    from sessions.heads.directions import ov_directions, qk_directions
    from sessions.heads.maps import head_maps
    from sessions.heads.splitting import split_scores
    from sessions.heads.stream_parts import stream_parts

    opened, ids, cancel = session.opened(), read.encoded.ids, session.cancel
    yield Progress("reading its maps")
    try:
        maps = head_maps(opened, read.row, ids, head, query, sources=SPLIT if split else 0, cancel=cancel)
    except ModelError as refusal:
        notes.append(f"no singular directions and no split of its scores: {refusal.message}")
        return _FromMaps()
    ((up, down),) = through_head(opened.anatomy, opened.tokenizer, maps.output[None].to(opened.model.dtype), tokens)
    parts: tuple[SplitScore, ...] = ()
    if split:
        yield Progress("splitting its scores")
        try:
            streams = stream_parts(opened, read.row, ids, head.layer, maps.positions, cancel)
            parts = split_scores(maps, streams, read.encoded.tokens, PARTS, strongest[:SPLIT])
        except ModelError as refusal:
            notes.append(f"no split of its scores: {refusal.message}")
    yield Progress("decomposing its maps")
    return _FromMaps(
        scores={source: float(maps.scores[source]) for source in strongest},
        norm=float(maps.output.norm()),
        up=up,
        down=down,
        ov=ov_directions(opened, maps, DIRECTIONS, tokens),
        qk=qk_directions(opened, maps, DIRECTIONS, tokens),
        split=parts,
    )
