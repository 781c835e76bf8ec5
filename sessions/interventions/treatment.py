"""`Treatment`: what is done to chosen neurons while a text is read and written, and where in it. Data only.

A neuron becomes a multiple of itself plus a constant. A multiplier of 0 ablates, 1 leaves, 2 doubles; 0 with a
constant holds the neuron at that value (its mean, or what it was in another text), 1 with a constant shifts it.

Where is a region of the text. Positions count from 0 and are those of the tokens that the model reads: with a key-value
cache too, the prompt's first and then, one a pass, the generated ones. The prompt's last position is what the first
generated token is chosen from, so a treatment of what is generated shows in the second token at the earliest.

    prompt       what the model was given
    generated    what it has written itself
    thought      the reply, up to and with the marker that closes the model's thought
    answer       the reply after that marker

The reply begins after the prompt's last turn: what the template or the seed already says of it belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct, structs

from sessions.circuits.circuit import Neuron
from sessions.errors import UsageError

Region = Literal["all", "prompt", "generated", "thought", "answer"]
#: Regions that an opening or closing marker bounds.
SEGMENTS: tuple[Region, ...] = ("thought", "answer")
#: Pairs of regions that no position is in both of.
_APART = ({"prompt", "generated"}, {"thought", "answer"})


class Where(Struct, frozen=True):
    """A region of the text and, within it, spans of positions: first and last of each, from 0; no span is all of it.

    `marker` is the text that closes a thought, for the regions that it bounds.
    """

    region: Region = "all"
    spans: tuple[tuple[int, int], ...] = ()
    marker: str = ""

    @property
    def everywhere(self) -> bool:
        return self.region == "all" and not self.spans

    def __str__(self) -> str:
        region = {"all": "", "prompt": "in the prompt", "generated": "in what is generated"}.get(
            self.region, f"in the {self.region}"
        )
        listed = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in self.spans)
        positions = f"at positions {listed}" if self.spans else ""
        return " ".join(filter(None, (region, positions))) or "at all positions"

    def meets(self, other: Where) -> bool:
        """Whether a position can be in both."""
        if {self.region, other.region} in _APART:
            return False
        pairs = [(a, b) for a in self.spans for b in other.spans]
        return not (self.spans and other.spans) or any(a[0] <= b[1] and b[0] <= a[1] for a, b in pairs)


EVERYWHERE = Where()


class Treatment(Struct, frozen=True):
    """What happens to these neurons: times a factor, plus a constant each, in a part of the text.

    `constants` has one number a neuron, or none at all where nothing is added. A neuron with a position is treated
    only there, one without wherever `where` says. `label` is what it is called where two get in each other's way.
    """

    neurons: tuple[Neuron, ...]
    multiplier: float = 1.0
    constants: tuple[float, ...] = ()
    where: Where = EVERYWHERE
    label: str = ""

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return bool(self.neurons) and (self.multiplier != 1 or any(self.constants))

    @property
    def pushes(self) -> bool:
        """Whether it adds a constant to what a neuron is by itself."""
        return bool(self.neurons) and self.multiplier != 0 and any(self.constants)

    def without(self, sites: frozenset[tuple[int, int]]) -> Treatment:
        """The same for all neurons but those of these (layer, index)."""
        kept = [number for number, neuron in enumerate(self.neurons) if neuron.site not in sites]
        constants = tuple(self.constants[number] for number in kept) if self.constants else ()
        return structs.replace(self, neurons=tuple(self.neurons[number] for number in kept), constants=constants)


def refuse_overlaps(treatments: Sequence[Treatment]) -> None:
    """Raise `UsageError` where two treatments say different things of one neuron at one position."""
    seen: dict[tuple[int, int], list[tuple[Treatment, Neuron]]] = {}
    for treatment in treatments:
        for neuron in treatment.neurons:
            for other, known in seen.setdefault(neuron.site, []):
                if other is not treatment and _meet(known, other, neuron, treatment):
                    raise UsageError(
                        f"'{other.label}' and '{treatment.label}' both change {Neuron(*neuron.site)}",
                        "leave it out of one of them, or keep them apart: --prompt and --generated, --thought and "
                        "--answer, or --positions",
                    )
            seen[neuron.site].append((treatment, neuron))


def _meet(one: Neuron, of_one: Treatment, two: Neuron, of_two: Treatment) -> bool:
    if one.position is not None and two.position is not None and one.position != two.position:
        return False
    return of_one.where.meets(of_two.where)


def sites_of(treatments: Iterable[Treatment]) -> frozenset[tuple[int, int]]:
    """(layer, index) of every neuron that one of them changes."""
    return frozenset(neuron.site for treatment in treatments for neuron in treatment.neurons)
