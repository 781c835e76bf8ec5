"""The neurons that hardly ever fire: `quiet`."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from commands.fields import Marker, NeuronRows
from commands.names import FileName, SavedName
from commands.ranges import LayersOrAll
from commands.request import Flag, Opt, Request
from commands.verb import verb
from commands.words import Real, Word
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.units import Unit
from sessions.procedures.circuits import range_of
from sessions.procedures.quiet import over_replies_to, quiet_rows
from sessions.results import QuietShown
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.atlas.quiet import Levels

FAMILY = "Hidden states"

_HELP = "leave it out, or see help quiet"
#: The parts of a text that a neuron can be active or silent in.
_REGIONS = ("prompt", "thought", "answer")


class Between(Word):
    """Two numbers of at least 0 with a dash between them, `0.1-2`; either may be left out."""

    name = "range"
    shape = "A-B"

    def read(self, text: str) -> tuple[float, float]:
        low, dash, high = text.partition("-")
        try:
            first, last = float(low or 0), float(high or "inf")
        except ValueError:
            first, last = math.nan, math.nan
        if not dash or not 0 <= first <= last or text == "-":
            raise UsageError(f"'{text}' is not a range of activations", "for example: 0.1-2, 0.1- or -2")
        return first, last

    def said(self, value: tuple[float, float]) -> str:
        low, high = (format(Decimal(repr(number)), "f") for number in value)  # an exponent may have a dash in it
        return f"{low}-{'' if math.isinf(value[1]) else high}"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("0.1-", "not the dead ones"), ("-0.5", "at most half")]


class Regions(Word):
    """Two parts of a text with a comma between them: active in the first, silent in the second."""

    name = "regions"
    shape = "REGION,REGION"

    def read(self, text: str) -> tuple[str, str] | tuple[()]:
        if text == "none":
            return ()
        parts = tuple(part.strip() for part in text.split(","))
        wrong = next((part for part in parts if part not in _REGIONS), None)
        if wrong is not None:
            raise UsageError(f"unknown part of a text '{wrong}'", f"two of: {', '.join(_REGIONS)}")
        if len(parts) != 2 or parts[0] == parts[1]:
            raise UsageError(f"'{text}' is not two parts of a text", "for example: thought,answer")
        return parts[0], parts[1]

    def said(self, value: tuple[str, ...]) -> str:
        return ",".join(value) or "none"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [
            ("thought,answer", "active in the thought, silent in the answer"),
            ("answer,thought", "active in the answer, silent in the thought"),
            ("prompt,answer", "active in the prompt, silent in the answer"),
            ("none", "over an atlas"),
        ]


@verb(
    "quiet",
    family=FAMILY,
    synonyms=("dead", "dead neurons", "inactive", "unused"),
    needs=("model", "prompt"),
    example=("quiet --regions prompt,answer --rows 5", "quiet --name small --range 0.1-"),
)
class Quiet(Request, frozen=True):
    """Find the neurons that hardly ever fire, over a corpus, or in one part of the model's own texts.

    Over an atlas, these are the neurons whose largest |activation| is smallest; --range 0.1- leaves out the dead
    ones. With --regions, the model continues the prompts, and a neuron's largest |activation| in one part of the
    texts is compared with that in the other: those at least --ratio times as large in the first are listed, largest
    ratio first. Each neuron is shown with the tokens that it would push where its activation is positive.

    quiet:LAST selects what was found last, quiet:LAST:300 its first 300; atlas:NAME:quiet300, atlas:NAME:top300 and
    atlas:NAME:positive300 select from an atlas directly.
    """

    regions: Annotated[
        tuple[str, str] | tuple[()] | None,
        Opt(Regions(), "active in the first, silent in the second: thought,answer (default: none)"),
    ] = None
    name: Annotated[str | None, Opt(SavedName("atlas"), "the atlas to look in (default: the model's latest)")] = None
    prompts: Annotated[
        Path | None, Opt(FileName(".jsonl"), "prompts to write the texts from (default: the session's prompt)")
    ] = None
    layers: Annotated[
        tuple[int, int] | str | None, Opt(LayersOrAll(), "only these layers: 12, 9-14 or all (the default)")
    ] = None
    ratio: Annotated[
        float | None, Opt(Real(), "of two regions: at least this many times as large in the first (default: 3)")
    ] = None
    between: Annotated[
        tuple[float, float] | None,
        Opt(Between(), "only neurons whose largest |activation| is in this range: 0.1-2", flag="--range"),
    ] = None
    marker: Marker = None
    rows: NeuronRows = None
    force: Annotated[bool, Flag("use the atlas even if it was made on another model")] = False

    def run(self, session: Session) -> Steps[QuietShown]:
        from sessions.atlas import quiet as looking

        chosen = range_of(session, self.layers)
        opened = session.opened()
        notes: tuple[str, ...] = ()
        silent: Levels | None = None
        if self.regions:
            self.refuse(("name",), "does not apply: --regions looks at the model's own texts, not at an atlas", _HELP)
            over, (active, silent) = yield from over_replies_to(session, self.regions, self.prompts, self.marker)
        else:
            self.refuse(("prompts", "ratio", "marker"), "needs --regions, for example --regions thought,answer", _HELP)
            atlas, notes = session.saved.read_atlas(self.name or "", force=self.force)
            over, active = f"atlas {atlas.name}", looking.over_atlas(atlas)
        fitting = looking.candidates(
            active,
            silent,
            layers=chosen,
            between=self.between or (0.0, math.inf),
            ratio=1.0 if silent is None else self.ratio or 3.0,
        )
        session.quiet = tuple(Unit(row.layer, row.index) for row in fitting)
        return QuietShown(
            over=over,
            regions=tuple(self.regions or ()),
            positions=(active.positions,) if silent is None else (active.positions, silent.positions),
            rows=quiet_rows(session, fitting[: self.rows or session.settings.rows]),
            total=len(fitting),
            neurons=sum(len(levels) for layer, levels in active.largest.items() if chosen is None or layer in chosen),
            notes=(
                *notes,
                *(["an expert's neurons count as 0 where no token was sent to it"] if opened.info.experts else []),
            ),
        )
