"""`Preset`: known neurons, each with a gain of its own and the part of the text it is for. Data only.

A gain acts in one of three ways. `shift` adds it to the neuron's activation, as clamp steering does (Templeton et al.
2024, "Scaling Monosemanticity", appendix on steering); `multiply` makes the activation that many times as large; `hold`
puts the gain in the activation's place. The regions are those of `treatment`; `always` is the whole text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field, structs

from sessions.cancel import look
from sessions.errors import ArtifactError, UsageError
from sessions.interventions.intervention import SEGMENTS, Intervention, Occupied, TokenScope
from sessions.model.units import BEYOND, Neuron

if TYPE_CHECKING:
    from sessions.model.parts import Anatomy

Mode = Literal["shift", "multiply", "hold"]
MODES: tuple[Mode, ...] = ("shift", "multiply", "hold")
Region = Literal["always", "answer", "thought", "generated", "prompt"]
REGIONS: tuple[Region, ...] = ("always", "answer", "thought", "generated", "prompt")


class Known(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A neuron of a preset: what it is called, what is done to it, and where in the text.

    `tier` is whatever its inventory sorts neurons by. `position` is one position alone, `positions` are spans of them,
    first and last (see `TokenScope`). `more` is what else its inventory says of it.
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

    @property
    def neuron(self) -> Neuron:
        return Neuron(self.layer, self.index, self.position)

    @property
    def where(self) -> TokenScope:
        return TokenScope("all" if self.region == "always" else self.region, self.positions)

    def scaled(self, factor: float) -> Known:
        """The same, that many times as strong: 0 does nothing to a neuron that is shifted or multiplied."""
        gain = 1 + factor * (self.gain - 1) if self.mode == "multiply" else factor * self.gain
        return structs.replace(self, gain=gain)


class Preset(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Known neurons in the order of their inventory.

    `under` is the key of the inventory that they stand under, "" where it is nothing but their list; `more` is what
    else that inventory says.
    """

    neurons: tuple[Known, ...]
    under: str = "neurons"
    more: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.neurons)

    @property
    def target(self) -> str:
        """What it does and where, for a listing: `shift always, multiply answer`."""
        return ", ".join(dict.fromkeys(f"{known.mode} {known.region}" for known in self.neurons))


def sound(preset: Preset, source: str) -> Preset:
    """The preset, if it is one: neurons that can exist, none of which two entries say different things of.

    Raises:
        ArtifactError: it is not; `source` is how the message names it.
    """
    if not preset.neurons:
        raise ArtifactError(f"{source} holds no neurons", "a preset has at least one")
    for known in preset.neurons:
        if not (0 <= known.layer < BEYOND and 0 <= known.index < BEYOND and abs(known.position or 0) < BEYOND):
            raise ArtifactError(f"{source} has {known.neuron}, which no model has")
        if any(not 0 <= first <= last for first, last in known.positions):
            raise ArtifactError(f"{source} has {known.neuron} at positions that are none: {known.positions}")
    pair = clash(preset.neurons)
    if pair is not None:
        one, two = (f"entry {number + 1} ({preset.neurons[number].id!a})" for number in pair)
        raise ArtifactError(
            f"{source}: {one} and {two} both say what becomes of {Neuron(*preset.neurons[pair[0]].neuron.site)}",
            "leave one of them out, or give them regions that do not meet: answer and thought",
        )
    return preset


def check_fits(preset: Preset, name: str, anatomy: Anatomy) -> None:
    """Refuse a preset with a neuron that a model lacks.

    Raises:
        ArtifactError: there is one; the message names it.
    """
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


def treatments(preset: Preset, label: str, marker: str = "") -> tuple[Intervention, ...]:
    """What a preset does: one treatment for each way, factor and part of the text, as its neurons come.

    Args:
        label: what they are called; where they are several, with what sets each apart.
        marker: the text that closes a thought, where a neuron is for thought or answer.
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
            label=label if len(groups) == 1 else f"{label}: {_way(mode, factor, where)}",
        )
        for (mode, factor, where), group in groups.items()
    )


def _way(mode: Mode, factor: float, where: TokenScope) -> str:
    done = f"×{factor:g}" if mode == "multiply" else mode
    return done if where.everywhere else f"{done} {where}"


def preset_of(live: Iterable[Intervention]) -> Preset:
    """The preset that does the same.

    Raises:
        UsageError: a neuron is both multiplied and shifted, which no gain says.
    """
    return Preset(neurons=tuple(known for treatment in live for known in _known(treatment)))


def _known(treatment: Intervention) -> Iterable[Known]:
    mode: Mode = "multiply"
    if any(treatment.constants):
        mode = "hold" if treatment.multiplier == 0 else "shift"
    if mode == "shift" and treatment.multiplier != 1:
        raise UsageError(
            f"'{treatment.label}' multiplies its neurons and shifts them: a preset does one or the other",
            "release it, and do one of the two",
        )
    gains = [treatment.multiplier] * len(treatment.neurons) if mode == "multiply" else treatment.constants
    for neuron, gain in zip(treatment.neurons, gains, strict=True):
        yield Known(
            id=str(neuron),
            layer=neuron.layer,
            index=neuron.index,
            gain=gain,
            region="always" if treatment.where.region == "all" else treatment.where.region,
            mode=mode,
            position=neuron.position,
            positions=treatment.where.spans,
        )


def part(preset: Preset, name: str, *, tiers: Sequence[str] = (), regions: Sequence[str] = ()) -> Preset:
    """Its neurons of these tiers that are for these regions; where none is given, of any.

    Raises:
        UsageError: there are none; the message says which there are.
    """
    neurons = preset.neurons
    for what, wanted, values in (
        ("tier", tiers, [str(known.tier) for known in neurons if known.tier is not None]),
        ("region", regions, [known.region for known in neurons]),
    ):
        missing = next((each for each in wanted if each not in values), None)
        if missing is not None:
            there = ", ".join(dict.fromkeys(values)) or "none is said"
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
    """Places of the first two that clash, or None."""
    occupied = Occupied[int]()
    for number, known in enumerate(neurons):
        other = occupied.take(known.neuron, known.where, number)
        if other is not None:
            return other, number
    return None
