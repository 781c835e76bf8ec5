"""Samples of `evaluate`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.evaluation.scores import Score
from sessions.events import Value
from sessions.results import Evaluated
from tests.filling import filled


def samples(text: str) -> Iterator[Value]:
    """Two arms, the second of them broken; and one arm alone, of which little is known."""
    base = filled(
        Score, text, name="base", tasks=1200, right=600, tokens=1200.0, loss=40.0, perplexity=2.4e17, broken=()
    )
    arms = base, structs.replace(base, name="broken", broken=(text, "nan"))
    yield filled(Evaluated, text, tasks=1200, scores=arms)
    unknown = dict.fromkeys(("at", "repetition", "guarded", "loss", "perplexity", "ratio", "first_answer_words"))
    alone = structs.replace(base, judged=0, seconds=0.0, **unknown)
    yield Evaluated(path=text, tasks=1, max_tokens=1, unrelated=0, scores=(alone,), pairs=(), languages=(), kept=text)
