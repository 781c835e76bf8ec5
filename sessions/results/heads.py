"""Results of `attention`: heads and what they attend to."""

from __future__ import annotations

from typing import ClassVar

from sessions.events import Value
from sessions.heads.findings import (
    HeadRow,
    RepeatedText,
    RepeatScores,
    SingularDirection,
    Source,
    SplitScore,
)
from sessions.model.units import Unit


class HeadTable(Value, frozen=True, kw_only=True):
    """`attention` without a head: every head at one query, and its scores on repeated random tokens.

    `at` is the query's position, `token` the token there, and `length` the number of tokens of the text, of which the
    last `generated` are the model's own. `rows` has all heads, sorted `by` one of their numbers; `listed` of them are
    to be shown.
    """

    at: int
    token: str
    length: int
    generated: int
    by: str
    rows: tuple[HeadRow, ...]
    listed: int
    repeated: RepeatedText


class HeadCard(Value, frozen=True, kw_only=True):
    """`attention HEAD`: what a head attends to, what it is known for, what it reads and writes.

    `neuron` is the head, with what the circuit knows of it: it is number `rank` of `circuit_size`, 0 where it is not in
    it. `tokens` are the text's, of which the last `generated` are the model's own. `sources` are the positions that the
    query at `at` attends to most, of all that it can attend to; `entropy` is that of its weights, in nats, and `total`
    their sum, below 1 where a sink takes a part. `pattern[q][s]` is the weight from position `queries[q]` to position
    `columns[s]`, None where it cannot look; empty where one query was asked for. `shared` are the heads that use the
    same keys and values. `norm` is that of what the head writes at the query, which pushes the tokens `up` and `down`.
    `ov` and `qk` are the singular directions of its maps. `split` says which parts of the stream make the scores.
    """

    table: ClassVar[str] = "sources"

    neuron: Unit
    rank: int
    circuit_size: int
    tokens: tuple[str, ...]
    generated: int
    at: int
    sources: tuple[Source, ...]
    entropy: float
    total: float
    queries: tuple[int, ...]
    columns: tuple[int, ...]
    pattern: tuple[tuple[float | None, ...], ...]
    scores: RepeatScores
    repeated: RepeatedText
    shared: tuple[int, ...]
    norm: float | None
    up: tuple[str, ...]
    down: tuple[str, ...]
    ov: tuple[SingularDirection, ...]
    qk: tuple[SingularDirection, ...]
    split: tuple[SplitScore, ...]

    def token(self, position: int) -> str:
        """The token at a position of the text."""
        return self.tokens[position] if 0 <= position < len(self.tokens) else ""
