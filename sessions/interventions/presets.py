"""`Preset`: known neurons, each with its own gain and the part of the text that it is for. Data only.

A gain acts in one of three modes. `shift` adds it to the neuron's activation, as clamp steering does (Templeton et al.
2024, "Scaling Monosemanticity", appendix on steering); `multiply` multiplies the activation by it; `hold` replaces the
activation by it. The regions are those of `intervention`; `always` is the whole text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field, structs

from sessions.cancel import look
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.interventions.intervention import SEGMENTS, Intervention, Occupied, TokenScope
from sessions.model.units import BEYOND, Kind, Unit

if TYPE_CHECKING:
    from sessions.model.parts import Anatomy

Mode = Literal["shift", "multiply", "hold"]
MODES: tuple[Mode, ...] = ("shift", "multiply", "hold")
Region = Literal["always", "answer", "thought", "generated", "prompt"]
REGIONS: tuple[Region, ...] = ("always", "answer", "thought", "generated", "prompt")


class Known(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A neuron of a preset: its name, its gain and mode, and where in the text they apply.

    `tier` is whatever its inventory sorts neurons by. `position` is a single position, `positions` are spans (see
    `TokenScope`). `more` has the other fields of its entry in the inventory.
    """

    id: str
    layer: int
    index: int
    gain: float
    tier: str | int | None = None
    region: Region = "always"
    mode: Mode = "shift"
    position: int | None = None
    positions: tuple[tuple[int, int], ...] = ()
    more: dict[str, Any] = field(default_factory=dict)
    kind: Kind = "neuron"

    @property
    def neuron(self) -> Unit:
        return Unit(self.layer, self.index, self.position, kind=self.kind)

    @property
    def where(self) -> TokenScope:
        return TokenScope("all" if self.region == "always" else self.region, self.positions)

    def scaled(self, factor: float) -> Known:
        """The same neuron with a gain `factor` times as strong; 0 leaves shifted and multiplied neurons alone."""
        gain = 1 + factor * (self.gain - 1) if self.mode == "multiply" else factor * self.gain
        return structs.replace(self, gain=gain)


class Preset(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Known neurons in the order of their inventory.

    `under` is the key of their list in the inventory, "" if the inventory is the list itself; `more` has other keys.
    """

    neurons: tuple[Known, ...]
    under: str = "neurons"
    more: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.neurons)

    @property
    def target(self) -> str:
        """Its modes and regions, for a listing: `shift always, multiply answer`."""
        return ", ".join(dict.fromkeys(f"{known.mode} {known.region}" for known in self.neurons))


def sound(preset: Preset, source: str) -> Preset:
    """The preset, if its neurons can exist and no two entries change the same neuron at the same place.

    Raises:
        ArtifactError: it is not sound; `source` is how the message names it.
    """
    if not preset.neurons:
        raise ArtifactError(f"{source} holds no neurons", "a preset has at least one")
    for known in preset.neurons:
        if not (0 <= known.layer < BEYOND and 0 <= known.index < BEYOND and abs(known.position or 0) < BEYOND):
            raise ArtifactError(f"{source} has {known.neuron}, which no model has")
        if any(not 0 <= first <= last for first, last in known.positions):
            raise ArtifactError(f"{source} has {known.neuron} at invalid positions: {known.positions}")
    pair = clash(preset.neurons)
    if pair is not None:
        one, two = (f"entry {number + 1} ({preset.neurons[number].id!a})" for number in pair)
        raise ArtifactError(
            f"{source}: {one} and {two} both change {preset.neurons[pair[0]].neuron.bare}",
            "leave one of them out, or give them regions that do not overlap: answer and thought",
        )
    return preset


def check_fits(preset: Preset, name: str, anatomy: Anatomy) -> None:
    """Refuse a preset with a neuron that the model does not have.

    Raises:
        ArtifactError: there is such a neuron; the message names it.
    """
    for known in preset.neurons:
        look()
        try:
            anatomy.coordinates(known.neuron)
        except (UsageError, ModelError) as error:
            called = f" ({known.id})" if known.id != str(known.neuron) else ""
            raise ArtifactError(
                f"preset '{name}' has {known.neuron}{called}, which this model lacks: {error.message}",
                "open the model it came from",
            ) from error


def treatments(preset: Preset, label: str, marker: str = "") -> tuple[Intervention, ...]:
    """The interventions of a preset: one for each mode, factor and part of the text, in the order of its neurons.

    Args:
        label: their name; if there are several, mode and part of the text are added to it.
        marker: the text that closes a thought, for neurons of the thought or the answer.
    """
    groups: dict[tuple[Mode, float, TokenScope], list[Known]] = {}
    for known in preset.neurons:
        factor = {"shift": 1.0, "hold": 0.0}.get(known.mode, known.gain)
        groups.setdefault((known.mode, factor, known.where), []).append(known)
    return tuple(
        Intervention(
            neurons=tuple(known.neuron for known in group),
            multiplier=factor,
            constants=() if mode == "multiply" else tuple(known.gain for known in group),
            where=structs.replace(where, marker=marker) if where.region in SEGMENTS else where,
            label=label if len(groups) == 1 else f"{label}: {_described(mode, factor, where)}",
        )
        for (mode, factor, where), group in groups.items()
    )


def _described(mode: Mode, factor: float, where: TokenScope) -> str:
    done = f"×{factor:g}" if mode == "multiply" else mode
    return done if where.everywhere else f"{done} {where}"


def preset_of(live: Iterable[Intervention]) -> Preset:
    """The preset that does the same as live interventions.

    Raises:
        UsageError: a neuron is both multiplied and shifted, which a preset cannot express.
    """
    return Preset(neurons=tuple(known for treatment in live for known in _known(treatment)))


def _known(treatment: Intervention) -> Iterable[Known]:
    mode: Mode = "multiply"
    if any(treatment.constants):
        mode = "hold" if treatment.multiplier == 0 else "shift"
    if mode == "shift" and treatment.multiplier != 1:
        raise UsageError(
            f"'{treatment.label}' both multiplies and shifts its neurons: a preset does one or the other",
            "release it, and do only one of the two",
        )
    gains = [treatment.multiplier] * len(treatment.neurons) if mode == "multiply" else treatment.constants
    for neuron, gain in zip(treatment.neurons, gains, strict=True):
        if isinstance(gain, tuple):
            raise UsageError(
                f"'{treatment.label}' holds {neuron} at {len(gain)} numbers, and a preset has one for each unit",
                "save it as a command file: a line such as ablate L5/H3 --reference mean",
            )
        yield Known(
            id=str(neuron),
            layer=neuron.layer,
            index=neuron.index,
            kind=neuron.kind,
            gain=gain,
            region="always" if treatment.where.region == "all" else treatment.where.region,
            mode=mode,
            position=neuron.position,
            positions=treatment.where.spans,
        )


def part(preset: Preset, name: str, *, tiers: Sequence[str] = (), regions: Sequence[str] = ()) -> Preset:
    """The preset with its neurons of these tiers and regions only; by default of all.

    Raises:
        UsageError: there are none; the message lists the tiers or regions that it has.
    """
    neurons = preset.neurons
    for what, wanted, values in (
        ("tier", tiers, [str(known.tier) for known in neurons if known.tier is not None]),
        ("region", regions, [known.region for known in neurons]),
    ):
        missing = next((word for word in wanted if word not in values), None)
        if missing is not None:
            there = ", ".join(dict.fromkeys(values)) or "none"
            raise UsageError(f"no neuron of preset '{name}' has the {what} '{missing}'", f"its {what}s: {there}")
    chosen = tuple(
        known
        for known in neurons
        if (not tiers or str(known.tier) in tiers) and (not regions or known.region in regions)
    )
    if not chosen:
        raise UsageError(f"no neuron of preset '{name}' has both that tier and that region", "give one of them")
    return structs.replace(preset, neurons=chosen)


def clash(neurons: Sequence[Known]) -> tuple[int, int] | None:
    """The numbers of the first two neurons that clash, from 0, or None."""
    occupied = Occupied[int]()
    for number, known in enumerate(neurons):
        other = occupied.take(known.neuron, known.where, number)
        if other is not None:
            return other, number
    return None
