"""Named interventions: `preset`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import structs

from commands.choices import OneOf, SomeOf
from commands.fields import Marker
from commands.limits import closing, thinks
from commands.names import SavedName
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import Listed as ListedWords
from commands.words import Number
from sessions.cancel import look
from sessions.errors import ArtifactError, UsageError
from sessions.interventions.presets import REGIONS, Preset, part, preset_of, treatments
from sessions.interventions.treatment import SEGMENTS, refuse_overlaps
from sessions.lines import line_of
from sessions.results import Listed, PresetShown, Saved
from sessions.session import Session

FAMILY = "Interventions"

ACTIONS = OneOf(
    "action",
    {
        "save": "save what is live under a name",
        "apply": "make a saved one live",
        "list": "show the presets there are or, with a name, what is in one",
    },
)
_MEANINGS = {
    "always": "in the whole text",
    "answer": "in the reply after its thought",
    "thought": "in the thought",
    "generated": "in what the model writes",
    "prompt": "in the prompt",
}
REGION_LIST = SomeOf("region", {region: _MEANINGS[region] for region in REGIONS})


@verb("preset", family=FAMILY, example="preset apply calm --gain 0.5")
class UsePreset(Request, frozen=True):
    """Keep interventions by name: save what is live, make it live again, list what there is.

    A preset is a group of neurons, each with a gain of its own: a constant that is added to its activation, a factor,
    or the value it is held at; and each for the whole text, the answer or the thought. What is applied is in force in
    every text, beside what is live already, until it is released. --gain 0.5 halves what is added, and makes of a
    factor of 3 one of 2.

    An inventory of known neurons is a preset too: import known.json --as preset:NAME reads it, export known.json
    --name preset:NAME writes it. Its entries have an id, a layer, an index, a gain, a tier and a region (answer,
    thought or always).
    """

    action: Annotated[str, Arg(ACTIONS, "save, apply or list")] = "list"
    name: Annotated[str | None, Arg(SavedName("preset"), "the preset's name")] = None
    gain: Annotated[float | None, Opt(Number(), "make it that many times as strong: 0.5 is half")] = None
    tier: Annotated[
        tuple[str, ...] | None, Opt(ListedWords(), "only its neurons of this tier, or of these: verified,general")
    ] = None
    region: Annotated[
        tuple[str, ...] | None, Opt(REGION_LIST, "only its neurons for this part of the text, or these: answer,always")
    ] = None
    marker: Marker = None
    force: Annotated[bool, Flag("replace what has that name; apply it even if it was made on another model")] = False

    def run(self, session: Session) -> Saved | PresetShown | Listed:
        if self.action == "list":
            _only("list", gain=self.gain, marker=self.marker)
            return _listed(session, self.name, self.tier, self.region)
        if self.name is None:
            raise UsageError(f"preset {self.action} needs a name", f"for example: preset {self.action} calm")
        if self.action == "save":
            _only("save", gain=self.gain, tier=self.tier, region=self.region, marker=self.marker)
            return _saved(session, self.name, self.force)
        name, tiers, regions = self.name, self.tier or (), self.region or ()
        return _applied(
            session,
            name,
            lambda preset: part(preset, name, tiers=tiers, regions=regions),
            self.gain,
            self.marker,
            self.force,
        )


def _only(action: str, **given: object) -> None:
    """Refuse options that an action has no use for."""
    for option_name, value in given.items():
        if value is not None:
            raise UsageError(f"--{option_name} says nothing to preset {action}", "leave it out, or see help preset")


def _listed(
    session: Session, name: str | None, tier: tuple[str, ...] | None, region: tuple[str, ...] | None
) -> PresetShown | Listed:
    if name is None:
        _only("list", tier=tier, region=region)
        return Listed(rows=tuple(session.store.rows("preset")))
    found, _ = session.saved.read_preset(name, force=True)
    chosen = part(found, name, tiers=tier or (), regions=region or ())
    return PresetShown(name=name, neurons=chosen.neurons, size=len(found), listed=session.settings.rows)


def _saved(session: Session, name: str, force: bool) -> Saved:
    if not session.live:
        raise UsageError(
            "nothing is live, so there is nothing to save", "make something live: shift L24/N1005 2 --live"
        )
    info = session.opened().info
    path = session.store.save(
        "preset",
        name,
        preset_of(tuple(treatment.turned for treatment in session.live)),
        model=info.name,
        fingerprint=info.fingerprint,
        command=line_of(["preset", "save", name]),
        force=force,
    )
    return Saved(name=f"preset:{name}", path=str(path))


def _applied(
    session: Session,
    name: str,
    of: Callable[[Preset], Preset],
    gain: float | None,
    marker: str | None,
    force: bool,
) -> PresetShown:
    session.opened()
    found, notes = session.saved.read_preset(name, force=force)
    chosen = of(found)
    if gain is not None:
        chosen = structs.replace(chosen, neurons=tuple(known.scaled(gain) for known in chosen.neurons))
    check_neurons(session, name, chosen)
    chosen, unthought = _without_thoughts(session, name, chosen, marker)
    chosen, more = _without_suppressed(session, name, chosen)
    made = treatments(chosen, f"preset {name}", _marker(session, chosen, marker))
    live = (*session.live, *made)
    try:
        refuse_overlaps(live)
    except UsageError as error:
        raise UsageError(error.message, "end what is live first: release all") from error
    session.live = live
    return PresetShown(
        name=name,
        neurons=chosen.neurons,
        size=len(found),
        listed=session.settings.rows,
        live=True,
        notes=(*notes, *unthought, *more),
    )


def _without_thoughts(
    session: Session, name: str, preset: Preset, marker: str | None
) -> tuple[Preset, tuple[str, ...]]:
    """The preset as a model that does not think takes it: all of a reply is its answer, and a thought never comes."""
    regions = [known.region for known in preset.neurons]
    if marker is not None or thinks(session) or not {"answer", "thought"} & {*regions}:
        return preset, ()
    kept = tuple(
        structs.replace(known, region="generated") if known.region == "answer" else known
        for known in preset.neurons
        if known.region != "thought"
    )
    if not kept:
        closing(session)  # there is nothing but thoughts: say how they end
    left = f"; {regions.count('thought')} neurons for the thought are left out" if "thought" in regions else ""
    remark = f"this model's template knows no thoughts: all of a reply is its answer{left}"
    return structs.replace(preset, neurons=kept), (remark,)


def _without_suppressed(session: Session, name: str, preset: Preset) -> tuple[Preset, tuple[str, ...]]:
    """The preset without neurons that are suppressed, which stay at zero, and a remark on them."""
    suppressed = {neuron.site for neuron in session.suppressed}
    left = tuple(known for known in preset.neurons if known.neuron.site not in suppressed)
    if not left:
        raise UsageError(f"all neurons of preset '{name}' are suppressed", "release them first: release all")
    if len(left) == len(preset):
        return preset, ()
    first = next(known.neuron for known in preset.neurons if known.neuron.site in suppressed)
    remark = f"{len(preset) - len(left)} of them are suppressed and stay at zero: the first is {first}"
    return structs.replace(preset, neurons=left), (remark,)


def check_neurons(session: Session, name: str, preset: Preset) -> None:
    """Refuse a preset with a neuron that the open model lacks."""
    anatomy = session.opened().anatomy
    for known in preset.neurons:
        look()
        try:
            anatomy.check(known.layer, known.index)
        except UsageError as error:
            called = f" ({known.id})" if known.id != str(known.neuron) else ""
            raise ArtifactError(
                f"preset '{name}' has a neuron {known.neuron}{called} that this model lacks: {error.message}",
                "open the model it came from",
            ) from error


def _marker(session: Session, preset: Preset, said: str | None) -> str:
    """The text that ends a thought, where a neuron of the preset is for a part that it bounds."""
    if any(known.where.region in SEGMENTS for known in preset.neurons):
        return said or closing(session)
    if said is not None:
        raise UsageError("--marker says where a thought ends, and no neuron here is for thought or answer")
    return ""
