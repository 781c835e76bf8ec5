"""`Intervention`: how chosen units are changed while a text is read and generated, and where in it. Data only.

A unit becomes a multiple of itself plus a constant. A multiplier of 0 ablates, 1 leaves it as it is, 2 doubles; 0
with a constant holds the neuron at that value (its mean, or its value in another text), 1 with a constant shifts it.

An intervention may be limited to a region of the text. Positions count from 0: first the tokens of the prompt, then the
generated ones, with or without a key-value cache. The first generated token is chosen at the prompt's last position,
so an intervention on what is generated can change the second token at the earliest.

    prompt       what the model was given
    generated    what it generated itself
    thought      the reply, up to and with the marker that closes the model's thought
    answer       the reply after that marker

The reply begins after the prompt's last turn: the beginning that the template or the seed gives belongs to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import inf, isnan
from typing import Generic, Literal, TypeVar

from msgspec import Struct, structs

from sessions.cancel import look
from sessions.errors import UsageError
from sessions.model.units import Place, Unit

#: What is added to a unit: one number to each of its coordinates, or a number for each.
UnitConstant = float | tuple[float, ...]
Region = Literal["all", "prompt", "generated", "thought", "answer"]
#: Regions that begin or end at a marker.
SEGMENTS: tuple[Region, ...] = ("thought", "answer")
#: Pairs of regions without a common position.
_APART = ({"prompt", "generated"}, {"thought", "answer"})


#: Parts of a text that one neuron may be changed in.
MOST_PARTS = 1000
Who = TypeVar("Who")


class TokenScope(Struct, frozen=True):
    """A region of the text and, within it, spans of positions, each its first and last one; without spans, all of it.

    `marker` is the text that closes a thought, for the regions that it bounds.
    """

    region: Region = "all"
    spans: tuple[tuple[int, int], ...] = ()
    marker: str = ""

    @property
    def everywhere(self) -> bool:
        return self.region == "all" and not self.spans

    @property
    def part(self) -> str:
        """Its short name: `answer`, `always`, `always at positions 3-7`."""
        region = "always" if self.region == "all" else self.region
        return f"{region} {self._listed}".rstrip()

    @property
    def _listed(self) -> str:
        listed = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in self.spans)
        return f"at positions {listed}" if self.spans else ""

    def __str__(self) -> str:
        region = {"all": "", "prompt": "in the prompt", "generated": "in what is generated"}.get(
            self.region, f"in the {self.region}"
        )
        return " ".join(filter(None, (region, self._listed))) or "at all positions"

    def meets(self, other: TokenScope) -> bool:
        """Whether a position can be in both."""
        if {self.region, other.region} in _APART:
            return False
        if not (self.spans and other.spans):
            return True
        # In order of their beginning, a span overlaps an earlier one of the other scope if it begins before its end.
        reached = [-inf, -inf]
        for first, last, whose in sorted([(*a, 0) for a in self.spans] + [(*b, 1) for b in other.spans]):
            if first <= reached[1 - whose]:
                return True
            reached[whose] = max(reached[whose], last)
        return False


EVERYWHERE = TokenScope()


class Intervention(Struct, frozen=True):
    """Units are multiplied by a factor, and a constant is added to each, in a part of the text.

    `neurons` are units of any kind. `constants` has a constant for each, or is empty if nothing is added. A unit with a
    position is changed only there; one without, wherever `where` says. `label` names the intervention in messages.
    `strength` scales a live intervention, see `turned`.
    """

    neurons: tuple[Unit, ...]
    multiplier: float = 1.0
    constants: tuple[UnitConstant, ...] = ()
    where: TokenScope = EVERYWHERE
    label: str = ""
    strength: float = 1.0

    @property
    def turned(self) -> Intervention:
        """The intervention at its strength s: the multiplier is 1 + s (m − 1), the constant s c.

        At 0 it does nothing, at 1 it is as given, and at 2 neurons move twice as far.
        """
        if self.strength == 1:
            return self
        s = self.strength
        constants = tuple(
            tuple(s * number for number in constant) if isinstance(constant, tuple) else s * constant
            for constant in self.constants
        )
        return structs.replace(self, multiplier=1 + s * (self.multiplier - 1), constants=constants, strength=1.0)

    @property
    def said(self) -> str:
        """Its label, with its strength if that is not 1."""
        return self.label if self.strength == 1 else f"{self.label}, strength {self.strength:g}"

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return bool(self.neurons) and (self.multiplier != 1 or self._adds)

    @property
    def pushes(self) -> bool:
        """Whether it shifts units: adds a constant to their own activation."""
        return bool(self.neurons) and self.multiplier != 0 and self._adds

    @property
    def _adds(self) -> bool:
        return any(any(constant) if isinstance(constant, tuple) else constant for constant in self.constants)

    def without(self, sites: frozenset[Place]) -> Intervention:
        """The same intervention without these units, whatever their positions."""
        kept = [number for number, neuron in enumerate(self.neurons) if neuron.anywhere not in sites]
        constants = tuple(self.constants[number] for number in kept) if self.constants else ()
        return structs.replace(self, neurons=tuple(self.neurons[number] for number in kept), constants=constants)


def is_known(constant: UnitConstant) -> bool:
    """Whether a constant is a number, or numbers: NaN stands for one that is not known."""
    return not any(map(isnan, constant if isinstance(constant, tuple) else (constant,)))


class Occupied(Generic[Who]):
    """Which neurons are taken in which part of a text, and by whom."""

    def __init__(self) -> None:
        self._sites: dict[Place, dict[int | None, dict[TokenScope, Who]]] = {}

    def take(self, neuron: Unit, where: TokenScope, who: Who) -> Who | None:
        """Take a neuron in a part of the text for `who`.

        Returns:
            Who has it already at a position that can be in `where`, or None: then it is taken.
        """
        look()
        taken = self._sites.setdefault(neuron.anywhere, {})
        everywhere, here = taken.get(None, {}), taken.setdefault(neuron.position, {})
        for parts in taken.values() if neuron.position is None else (everywhere, here):
            for part, by in parts.items():
                if by is not who and part.meets(where):
                    return by
        here.setdefault(where, who)
        if len(here) > MOST_PARTS:
            raise UsageError(
                f"{neuron} is changed in more than {MOST_PARTS:,} parts of the text", "write them as spans: 3-9"
            )
        return None


def refuse_overlaps(treatments: Sequence[Intervention]) -> None:
    """Raise `UsageError` if two interventions change one neuron at one position."""
    occupied = Occupied[Intervention]()
    for treatment in treatments:
        for neuron in treatment.neurons:
            other = occupied.take(neuron, treatment.where, treatment)
            if other is not None:
                raise UsageError(
                    f"'{other.label}' and '{treatment.label}' both change {neuron.bare}",
                    "leave it out of one of them, or keep them apart: --prompt and --generated, --thought and "
                    "--answer, or --positions",
                )


def units_of(treatments: Iterable[Intervention]) -> frozenset[Place]:
    """Every unit that one of the interventions changes, without its position."""
    return frozenset(neuron.anywhere for treatment in treatments for neuron in treatment.neurons)


def in_force(live: Iterable[Intervention], suppressed: Iterable[Unit]) -> tuple[Intervention, ...]:
    """The live interventions at their strength, without the suppressed neurons, which stay at zero."""
    sites = frozenset(neuron.anywhere for neuron in suppressed)
    left = (intervention.turned.without(sites) for intervention in live)
    return tuple(intervention for intervention in left if intervention.neurons)


def without_suppressed(treatment: Intervention, suppressed: Collection[Place]) -> tuple[Intervention, list[str]]:
    """An intervention without the suppressed neurons, which stay at zero, and a remark on them.

    Raises:
        UsageError: all of its neurons are suppressed.
    """
    both = units_of([treatment]) & frozenset(suppressed)
    if not both:
        return treatment, []
    left = treatment.without(both)
    if not left.neurons:
        raise UsageError(f"all neurons of '{treatment.label}' are suppressed", "release them first: release all")
    some = Unit.at(min(both))
    return left, [f"{len(both)} of them are suppressed and stay at zero: the first is {some}"]


def beside_live(
    treatment: Intervention, live: Sequence[Intervention]
) -> tuple[tuple[Intervention, ...], tuple[str, ...]]:
    """An intervention together with the live ones, and remarks. Live ones lose the neurons that it changes too."""
    sites = units_of([treatment])
    meeting = [other for other in live if sites & units_of([other]) and other.where.meets(treatment.where)]
    kept = [other.without(sites) if other in meeting else other for other in live]
    notes = tuple(f"'{other.label}' gives way to this line where both change a neuron" for other in meeting)
    return (treatment, *(other for other in kept if other.neurons)), notes
