"""Interventions that are kept by name: `preset save`, `apply`, `list`."""

from __future__ import annotations

from typing import Annotated

from msgspec import structs

from commands.choices import SomeOf
from commands.fields import Marker
from commands.names import SavedName
from commands.request import Arg, Flag, Needs, Opt, Options, Request
from commands.verb import verb
from commands.words import ListWord as ListedWords
from commands.words import NumberWord
from sessions.artifacts import Key
from sessions.errors import UsageError
from sessions.interventions.intervention import refuse_overlaps
from sessions.interventions.presets import REGIONS, Preset, check_fits, part, preset_of, treatments
from sessions.procedures.presets import marker_for, without_suppressed_neurons, without_thoughts
from sessions.results import Listed, PresetShown, Saved
from sessions.session import Session

FAMILY = "Interventions"

_MEANINGS = {
    "always": "in the whole text",
    "answer": "in the reply after its thought",
    "thought": "in the thought",
    "generated": "in what the model writes",
    "prompt": "in the prompt",
}
REGION_LIST = SomeOf("region", {region: _MEANINGS[region] for region in REGIONS})


class PartOf(Options, frozen=True):
    """Which of its neurons are meant."""

    tier: Annotated[
        tuple[str, ...] | None, Opt(ListedWords(), "only its neurons of this tier, or of these: verified,general")
    ] = None
    region: Annotated[
        tuple[str, ...] | None, Opt(REGION_LIST, "only its neurons for this part of the text, or these: answer,always")
    ] = None

    def of(self, preset: Preset, name: str) -> Preset:
        """That part of a preset."""
        return part(preset, name, tiers=self.tier or (), regions=self.region or ())


@verb(
    "preset save",
    family=FAMILY,
    synonyms=("save preset", "keep interventions"),
    needs=("live",),
    example=("preset save mine", "preset save mine --force"),
)
class SavePreset(Request, frozen=True):
    """Save what is live under a name.

    A preset is a group of neurons, each with a gain of its own: a constant that is added to its activation, a factor,
    or the value it is held at; and each for the whole text, the answer or the thought.

    An inventory of known neurons is a preset too: import known.json --as preset:NAME reads it, export known.json
    --name preset:NAME writes it. Its entries have an id, a layer, an index, a gain, a tier and a region (answer,
    thought or always).
    """

    name: Annotated[str, Arg(SavedName("preset"), "the name to save it under")]
    force: Annotated[bool, Flag("replace what has that name")] = False

    def run(self, session: Session) -> Saved:
        if not session.live:
            raise UsageError(
                "nothing is live, so there is nothing to save", "make something live: shift L24/N1005 2 --live"
            )
        key, preset = Key("preset", self.name), preset_of(tuple(treatment.turned for treatment in session.live))
        path = session.keep(key, preset, structs.replace(self, force=False).line(), force=self.force)
        return Saved(name=str(key), path=str(path))


@verb(
    "preset apply",
    family=FAMILY,
    synonyms=("load preset", "apply preset"),
    needs=("model",),
    example=("preset apply calm --gain 0.5", "preset apply calm --tier verified"),
)
class ApplyPreset(Request, frozen=True):
    """Make a saved preset live.

    It stays in force in every text, beside what is live already, until release. --gain 0.5 halves what is added,
    and turns a factor of 3 into 2.
    """

    name: Annotated[str, Arg(SavedName("preset"), "the preset's name")]
    gain: Annotated[float | None, Opt(NumberWord(), "make it this many times as strong: 0.5 is half")] = None
    part: PartOf = PartOf()
    marker: Marker = None
    force: Annotated[bool, Flag("apply it even if it was made on another model")] = False

    def run(self, session: Session) -> PresetShown:
        name, opened = self.name, session.opened()
        preset, notes = session.saved.read_preset(name, force=self.force)
        size, preset = len(preset), self.part.of(preset, name)
        if self.gain is not None:
            preset = structs.replace(preset, neurons=tuple(known.scaled(self.gain) for known in preset.neurons))
        check_fits(preset, name, opened.anatomy)
        preset, unthought = without_thoughts(session, preset, self.marker)
        preset, more = without_suppressed_neurons(session, name, preset)
        live = (*session.live, *treatments(preset, f"preset {name}", marker_for(session, preset, self.marker)))
        try:
            refuse_overlaps(live)
        except UsageError as error:
            raise UsageError(error.message, "end what is live first: release all") from error
        session.live = live
        return PresetShown(
            name=name,
            neurons=preset.neurons,
            size=size,
            listed=session.settings.rows,
            live=True,
            notes=(*notes, *unthought, *more),
        )


@verb(
    "preset list",
    family=FAMILY,
    synonyms=("presets",),
    example=("preset list", "preset list calm --region answer"),
    default=True,
)
class ListPresets(Request, frozen=True):
    """List the presets that are saved or, with a name, the neurons of one."""

    reads_only = True

    name: Annotated[str | None, Arg(SavedName("preset"), "the preset to look into")] = None
    part: PartOf = PartOf()

    rules = (Needs(("tier", "region"), "name", "{some} is for one preset", "name it: preset list NAME"),)

    def run(self, session: Session) -> PresetShown | Listed:
        if self.name is None:
            return Listed(rows=tuple(session.store.rows("preset")))
        preset, _ = session.saved.read_preset(self.name, force=True)
        neurons = self.part.of(preset, self.name).neurons
        return PresetShown(name=self.name, neurons=neurons, size=len(preset), listed=session.settings.rows)
