"""How much the tokens of each part of a reply count in training: the word after `--weights`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from commands.words import Word, number_in
from sessions.errors import UsageError

if TYPE_CHECKING:
    from sessions.session import Session


class WeightsWord(Word):
    """Weights by part of a reply, `conclusions=2,filler=0.5,glue=0.1`; `ones` counts every token alike."""

    name = "weights"
    shape = "PART=X,…"

    def read(self, text: str) -> tuple[tuple[str, float], ...]:
        if text == "ones":
            return ()
        found = {}
        for each in text.split(","):
            part, equals, number = (piece.strip() for piece in each.partition("="))
            weight = number_in(number)
            if not (part and equals) or not 0 <= weight < float("inf"):
                raise UsageError(f"'{each}' is no weight of a part", "for example: conclusions=2,filler=0.5,glue=0.1")
            found[part] = weight
        return tuple(found.items())

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("conclusions=2,filler=0.5,glue=0.1", "the usual ones"), ("ones", "every token alike")]


def spelt(weights: Sequence[tuple[str, float]]) -> str:
    """Weights by part, as they are typed."""
    return ",".join(f"{part}={weight:g}" for part, weight in weights) or "ones"
