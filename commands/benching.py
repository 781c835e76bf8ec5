"""What this machine does for the open model: `bench`."""

from __future__ import annotations

from typing import Annotated

from commands.request import Opt, Request
from commands.verb import verb
from commands.words import Whole
from sessions.events import Steps
from sessions.results import SpeedMeasured
from sessions.session import Session

FAMILY = "The session"


@verb(
    "bench",
    family=FAMILY,
    synonyms=("benchmark", "speed", "tokens per second", "bandwidth", "throughput", "performance"),
    needs=("model",),
    example=("bench --tokens 16 --write 4 --effects 4 --repeats 1", "bench", "bench --tokens 1024 --write 64"),
)
class MeasureSpeed(Request, frozen=True):
    """Measure what this machine does for the open model.

    Prefill and decoding in tokens a second, discover, exact effects, and a training step, each beside the plain call of
    transformers or PEFT that does the least of the same. Decoding one text reads all weights for every token; the
    memory bandwidth of this machine, measured by a copy, bounds it. Text and tokens are made up; nothing is kept.
    Suppressed neurons and edits stay in force.
    """

    reads_only = True

    tokens: Annotated[int, Opt(Whole(2), "length of the text that is read")] = 128
    write: Annotated[int, Opt(Whole(2), "tokens that are generated")] = 32
    effects: Annotated[int, Opt(Whole(1), "neurons whose exact effect is computed")] = 50
    repeats: Annotated[int, Opt(Whole(1), "how often each is timed; the median counts")] = 3

    def run(self, session: Session) -> Steps[SpeedMeasured]:
        from sessions.procedures.benching import measured

        return (
            yield from measured(
                session.opened(),
                tokens=self.tokens,
                written=self.write,
                effects=self.effects,
                repeats=self.repeats,
                cancel=session.cancel,
            )
        )
