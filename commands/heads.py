"""`attention`: what heads attend to, and why."""

from __future__ import annotations

from typing import Annotated

from commands.choices import OneOf
from commands.request import Arg, Excludes, Opt, Request
from commands.verb import verb
from commands.words import Length, RowsWord, SelectionWord, TextWord, Whole
from sessions.events import Steps
from sessions.results import HeadCard, HeadTable
from sessions.session import Session

FAMILY = "Circuits"

#: How the table can be sorted.
_ORDERS = OneOf(
    "order",
    {
        "induction": "induction score",
        "duplicate": "duplicate-token score",
        "previous": "previous-token score",
        "first": "weight on the first token",
        "weight": "largest weight",
        "entropy": "the sharpest first",
        "layer": "as they are in the model",
    },
)


@verb(
    "attention",
    family=FAMILY,
    synonyms=("heads", "head", "pattern", "attention pattern", "qk", "ov", "induction", "circuitsvis"),
    needs=("model", "prompt"),
    example=("attention", "attention --layer 5", "attention L5/H3", "attention L5/H3 --at -1"),
)
class ShowAttention(Request, frozen=True):
    """Show what attention heads attend to.

    Without a head, a table of all heads: where the query looks most, the entropy of its weights in nats, the weight on
    the first token (an attention sink), and three scores on random tokens that are repeated once: the mean attention
    from a token of the second half to the token before it (previous), to its earlier occurrence (duplicate), and to the
    token after that (induction). The loss on the repeated half says what induction is worth.

    With a head, its card: its pattern as a map, the scores, the tokens that it pushes at the query, and the singular
    directions of OV (what it reads, what it then writes) and of QK (which queries attend to which sources, at a
    relative position of 0), as tokens.

    With a head and --at, one query: its sources, and the scores before the softmax split exactly into what embeddings,
    heads and MLPs below put into both streams, with the scales of norms held as they are.

    Patterns are those that the model computes, softcaps, sliding windows and shared keys included, under what is
    suppressed and live. Weights sum to 1; where a head has a sink of its own, to less.
    """

    head: Annotated[str | None, Arg(SelectionWord(), "the head, such as L5/H3 (default: a table of heads)")] = None
    layer: Annotated[int | None, Opt(Whole(0), "the heads of this layer only")] = None
    at: Annotated[str | None, Opt(TextWord(), "the query: a word, or a position (default: -1, the last)")] = None
    generate: Annotated[int | None, Opt(Length(), "let the model go on, and read these tokens too")] = None
    last: Annotated[int, Opt(Whole(1, 512), "tokens of the pattern that are shown, from the end")] = 64
    sources: Annotated[int, Opt(Whole(1, 200), "positions to list that the query attends to most")] = 8
    tokens: Annotated[int, Opt(Whole(1, 100), "tokens to show of each direction")] = 6
    by: Annotated[str, Opt(_ORDERS, "the order of the table")] = "induction"
    rows: Annotated[int | None, Opt(RowsWord(), "heads to list at most (default: the setting rows)")] = None

    rules = (
        Excludes("head", ("layer", "rows", "by"), "{other} is for the table of heads, and a head is named"),
        Excludes("at", ("last",), "{other} is for the whole pattern, and --at shows one query"),
    )

    def run(self, session: Session) -> Steps[HeadCard | HeadTable]:
        from sessions.procedures.heads import head_card, heads_at

        if self.head is not None:
            return (
                yield from head_card(
                    session,
                    text=self.head,
                    at=self.at,
                    last=self.last,
                    sources=self.sources,
                    tokens=self.tokens,
                    generate=self.generate,
                )
            )
        self.refuse(("last", "sources", "tokens"), "is for the card of a head", "name one: attention L5/H3")
        return (
            yield from heads_at(
                session,
                layer=self.layer,
                at="-1" if self.at is None else self.at,
                by=self.by,
                listed=self.rows,
                generate=self.generate,
            )
        )
