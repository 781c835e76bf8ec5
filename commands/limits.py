"""Where in a text an intervention is in force: the options of all verbs that intervene, and what they mean here."""

from __future__ import annotations

from typing import Annotated

from commands.choices import SCOPE
from commands.fields import Marker
from commands.ranges import Spans
from commands.request import Flags, Opt, Options
from sessions.errors import UsageError
from sessions.interventions.intervention import SEGMENTS, Region, TokenScope
from sessions.model.info import Encoded
from sessions.procedures.thoughts import closing, counted_span, thinks
from sessions.session import Session


class Limits(Options, frozen=True):
    """Where an intervention is in force."""

    group = "Where it is in force"

    at: Annotated[str, Opt(SCOPE, "all: at every position; circuit: only at each neuron's own positions")] = "all"
    region: Annotated[
        Region,
        Flags(
            {
                "all": "in the whole text (default)",
                "prompt": "only in the prompt",
                "generated": "only in what the model writes",
                "thought": "only in the thought of a model that thinks first",
                "answer": "only in the answer after the thought; without a thought, the whole reply",
            }
        ),
    ] = "all"
    positions: Annotated[
        tuple[tuple[int, int], ...] | None,
        Opt(Spans(), "only at these positions: 0, 3-7, or -1 for the prompt's last"),
    ] = None
    marker: Marker = None

    def where(self, session: Session, encoded: Encoded | None) -> TokenScope:
        """The part of a text that they mean; positions from the end are those of the prompt, if there is one.

        Raises:
            UsageError: a position that the prompt does not have; or no marker is known, or one is not needed.
        """
        spans = tuple(
            counted_span(span, None if encoded is None else len(encoded.ids)) for span in self.positions or ()
        )
        if self.region not in SEGMENTS:
            if self.marker is not None:
                raise UsageError("--marker says where a thought ends", "give --thought or --answer with it")
            return TokenScope(self.region, spans)
        if self.region == "answer" and self.marker is None and not thinks(session):
            return TokenScope("generated", spans)
        return TokenScope(self.region, spans, self.marker or closing(session))
