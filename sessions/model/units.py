"""Units of a model, which can be attributed, ablated, suppressed and recruited. Data only.

A unit is a set of numbers that a layer computes for each token: one neuron, all numbers of an attention head, or all
neurons of an expert.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct, structs

from sessions.errors import UsageError

#: Beyond any layer, neuron, position or token of any model.
BEYOND = 10**9
# Nine digits exceed any model, and stay far below integer overflow.
_N = "[0-9]{1,9}"
_UNIT = re.compile(rf"L(?P<layer>{_N})(?:/(?P<letter>[NHE])|#)(?P<index>{_N})(?:@(?P<position>-?{_N}))?", re.IGNORECASE)

Kind = Literal["neuron", "head", "expert"]
#: The letter that each kind of unit is written with.
LETTERS: dict[Kind, str] = {"neuron": "N", "head": "H", "expert": "E"}
NEURONS: tuple[Kind, ...] = ("neuron",)
KINDS: dict[str, Kind] = {letter: kind for kind, letter in LETTERS.items()}


class Place(NamedTuple):
    """Which unit, and where; a key of dictionaries."""

    layer: int
    number: int
    position: int | None = None
    kind: Kind = "neuron"


class Unit(Struct, frozen=True):
    """A neuron, an attention head or an expert, at a token position or at all of them.

    A neuron is one input coordinate of a layer's down projection, written `L24/N1005` (`L24#1005` is read as well). In
    a mixture-of-experts layer the neurons of expert `e` are `e·d_expert … (e+1)·d_expert − 1`. A head, `L5/H3`, is its
    slice of the input of the attention's output projection; where heads share keys it is the query head. An expert,
    `L3/E5`, is all its neurons. At position 41 a unit is written `L24/N1005@41`. Layers, units and positions count from
    0; a negative position counts from the end of the prompt.

    `attribution` is the signed contribution to the target, in the target's own unit (logits), an estimate. `effect` is
    the exact loss of the target when this unit alone is ablated (see `verification`). `activation` is a neuron's value;
    of a head, the norm of its slice. Each is None if it is unknown.
    """

    layer: int
    index: int
    position: int | None = None
    attribution: float | None = None
    activation: float | None = None
    effect: float | None = None
    kind: Kind = "neuron"

    def __str__(self) -> str:
        at = "" if self.position is None else f"@{self.position}"
        return f"L{self.layer}/{LETTERS[self.kind]}{self.index}{at}"

    @property
    def site(self) -> tuple[int, int]:
        """(layer, index) of a neuron, without its position; `anywhere` tells all kinds of units apart."""
        return self.layer, self.index

    @property
    def place(self) -> Place:
        return Place(self.layer, self.index, self.position, self.kind)

    @property
    def anywhere(self) -> Place:
        """Which unit it is, whatever its position."""
        return Place(self.layer, self.index, None, self.kind)

    @property
    def bare(self) -> Unit:
        """The same unit without its position and numbers."""
        return Unit(self.layer, self.index, kind=self.kind)

    @classmethod
    def at(cls, place: Place) -> Unit:
        """The unit at a place."""
        return cls(place.layer, place.number, place.position, kind=place.kind)

    def counted(self, length: int) -> Unit:
        """The same unit, its position counted from the start of a text of `length` tokens."""
        if self.position is None or self.position >= 0:
            return self
        return structs.replace(self, position=self.position + length)

    @classmethod
    def parse(cls, text: str) -> Unit:
        """The unit written as `text`.

        Raises:
            UsageError: the text is not a unit.
        """
        match = _UNIT.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"'{text[:80]}' is not a unit",
                "write a neuron L24/N1005, a head L5/H3 or an expert L3/E5, @41 after it",
            )
        position, kind = match["position"], KINDS[(match["letter"] or "N").upper()]
        return cls(int(match["layer"]), int(match["index"]), None if position is None else int(position), kind=kind)


def key_of(units: Sequence[Unit]) -> str:
    """A text that is equal for equal sets of units, whatever their positions."""
    others = "".join(sorted(str(unit.bare) for unit in units if unit.kind != "neuron"))
    return repr(sorted(unit.site for unit in units if unit.kind == "neuron")) + others


def kind_in(units: Iterable[Unit]) -> str:
    """What each of these units is: a neuron, head or expert, or a unit where they differ."""
    kinds = {unit.kind for unit in units}
    return kinds.pop() if len(kinds) == 1 else "unit"


def noun(units: Iterable[Unit]) -> str:
    """What these units are, in the plural: neurons, heads or experts, or units where they differ."""
    return f"{kind_in(units)}s"


def named(units: Sequence[Unit]) -> str:
    """How many units of what kind: `1 neuron`, `3 heads`, `5 units`."""
    return f"{len(units):,} {kind_in(units)}{'s' * (len(units) != 1)}"


def only_neurons(units: Sequence[Unit], what: str, hint: str = "") -> Sequence[Unit]:
    """The units, all of which are neurons. `hint` is what to type instead.

    Raises:
        UsageError: one is not; `what` says in words what takes neurons alone.
    """
    other = next((unit for unit in units if unit.kind != "neuron"), None)
    if other is not None:
        problem = f"{other} is {'an' if other.kind == 'expert' else 'a'} {other.kind}, and {what} takes neurons only"
        raise UsageError(problem, hint or "for example: L24/N1005")
    return units
