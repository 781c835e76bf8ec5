"""What rounds of training came to: `rounds`, `recruits`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from commands.choices import OneOf
from commands.fields import MaxTokens
from commands.names import OutputFile, RoundName, SeriesName
from commands.request import Arg, Flag, Needs, Opt, Request
from commands.training import FAMILY
from commands.verb import verb
from commands.words import RowsWord
from sessions.events import Steps
from sessions.procedures.training import recruits_shown, rounds_result
from sessions.results import Compared, RecruitsShown, RoundsShown
from sessions.session import Session
from sessions.training.findings import Measure

MEASURE = OneOf(
    "measure",
    {
        "gradient": "the gradients of all steps, summed",
        "largest": "the largest gradient of all steps",
        "last": "the gradient of the last step",
        "activation": "gradient × activation, summed over all steps",
    },
)


@verb(
    "rounds",
    family=FAMILY,
    synonyms=("trajectory", "chart", "training history", "loss"),
    needs=("model",),
    example=("rounds", "rounds crab --chart crab.svg", "rounds crab --answer --max-tokens 20"),
)
class ShowRounds(Request, frozen=True):
    """Show the trajectory of a series of rounds: what each suppressed, and what it still learned.

    Losses are means over the samples, in nats a token: before, after, and after the control, in which as many
    random neurons of the same layers were suppressed. Kept is the fall from where the series began, as a share of
    the control's fall. Share is the part of the gradient that the recruits absorbed. Again counts recruits that an
    earlier round had too. Plain losses, which count every token of a reply alike, are shown where they differ.

    The verdict is single-point if no round without earlier recruits kept half. It is exhausted if some did and the
    last did not. If the last did, it is several solutions where the recruits absorbed a fifth of the gradient or
    more, and distributed where they absorbed less. Without a control there is no verdict.

    A single round is shown with the losses of each epoch, and with the gradient by projection and layer; compare
    round:A round:B shows two side by side.

    --answer answers the prompt with the model as it was opened and with the adapter of each round, once with what
    the round held at zero and once with nothing suppressed. evaluate FILE --arms base,round:NAME counts right
    answers.
    """

    names: Annotated[
        tuple[str, ...],
        Arg(
            SeriesName(), "a series, or rounds in their order (default: the latest series)", metavar="NAME…", many=True
        ),
    ] = ()
    chart: Annotated[Path | None, Opt(OutputFile(".svg"), "write the trajectory to this file, .svg or .png")] = None
    answer: Annotated[bool, Flag("answer the session's prompt with each round's adapter instead")] = False
    max_tokens: MaxTokens = None
    force: Annotated[bool, Flag("replace the chart's file")] = False

    rules = (Needs(("max_tokens",), "answer", "{some} is for {one}", "leave it out"),)

    def run(self, session: Session) -> Steps[RoundsShown | Compared]:
        return (
            yield from rounds_result(
                session,
                names=self.names,
                answer=self.answer,
                max_tokens=self.max_tokens,
                chart=self.chart,
                force=self.force,
            )
        )


@verb(
    "recruits",
    family=FAMILY,
    synonyms=("gradient", "learned neurons", "which learned"),
    needs=("model",),
    example=("recruits", "recruits crab-2 --top 10 --by activation"),
)
class ShowRecruits(Request, frozen=True):
    """Show the neurons that absorbed most gradient in a round, and what each of them pushes.

    recruits:NAME selects them in other verbs: suppress recruits:1, ablate recruits:1:10.
    """

    reads_only = True

    name: Annotated[
        str | None, Arg(RoundName(), "the round, by name or number (default: the latest)", metavar="ROUND")
    ] = None
    top: Annotated[int, Opt(RowsWord(), "how many of the strongest to show")] = 30
    by: Annotated[Measure | None, Opt(MEASURE, "gradient (the default), largest, last or activation")] = None

    def run(self, session: Session) -> RecruitsShown:
        return recruits_shown(session, name=self.name, top=self.top, by=self.by)
