"""What is known of attention heads. Data only."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Unit


class RepeatScores(Struct, frozen=True):
    """A head's mean attention on random tokens that are repeated once, over the tokens of the second half.

    `previous` goes to the token before, `duplicate` to the earlier occurrence of the token, and `induction` to the
    token after that occurrence (Olsson et al. 2022, In-context learning and induction heads).
    """

    previous: float
    duplicate: float
    induction: float


class RepeatedText(Struct, frozen=True, kw_only=True):
    """The text of the scores: `length` random tokens twice, drawn from seed `rng`.

    `first_loss` and `repeat_loss` are the mean losses of the tokens of either half, in nats: what repetition is worth.
    """

    length: int
    rng: int
    first_loss: float
    repeat_loss: float


class HeadRow(Struct, frozen=True, kw_only=True):
    """One head at one query: the position it attends to most, that token, and the weight there.

    `entropy` is that of the weights, in nats. `first` is the weight on the first token, an attention sink.
    """

    neuron: Unit
    position: int
    token: str
    weight: float
    entropy: float
    first: float
    scores: RepeatScores

    @property
    def head(self) -> str:
        """The head as it is typed."""
        return str(self.neuron)

    @property
    def previous(self) -> float:
        return self.scores.previous

    @property
    def duplicate(self) -> float:
        return self.scores.duplicate

    @property
    def induction(self) -> float:
        return self.scores.induction


class Source(Struct, frozen=True):
    """A position that a query attends to: its token, the weight, and the score before the softmax, where it is known.

    The score is the product of query and key, scaled: a softcap or what a mask adds comes after it.
    """

    position: int
    token: str
    weight: float
    score: float | None = None


class SingularDirection(Struct, frozen=True, kw_only=True):
    """A pair of singular directions of a head's map, as the tokens along each and against it.

    Of OV, a stream along `read` makes the head write along `written`. Of QK, a query along `read` attends to a source
    along `written`. `share` is the part of the map's squared norm.
    """

    share: float
    read: tuple[str, ...]
    read_against: tuple[str, ...]
    written: tuple[str, ...]
    written_against: tuple[str, ...]


class PartOfScore(Struct, frozen=True):
    """What a part of the stream adds to a score: the embedding, a head `L3/H2`, an MLP `L3/*`, or the constants."""

    name: str
    value: float


class PairOfParts(Struct, frozen=True):
    """What a part of the query's stream and one of the source's make of a score together."""

    query: str
    source: str
    value: float


class SplitScore(Struct, frozen=True, kw_only=True):
    """The score of a source as a sum over the parts of both streams.

    `query` has what each part of the query's stream contributes, with all of the source's, `source` the other way
    round: either sums to the score with its `rest`, the parts that are not listed. `pairs` are the largest products of
    two parts.
    """

    source_at: Source
    query: tuple[PartOfScore, ...]
    query_rest: float
    source: tuple[PartOfScore, ...]
    source_rest: float
    pairs: tuple[PairOfParts, ...]
