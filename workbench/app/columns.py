"""The data behind the table of neurons: a circuit's numbers as arrays, sorted and filtered.

A circuit can have a million neurons. Arrays are built on demand, with one number per neuron, in the circuit's order;
"row" here is always an index in that order. numpy is imported when it is first needed. All of this may be called from a
thread: no step blocks other threads for long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sessions.circuits.circuit import Circuit
from sessions.errors import WorkbenchError
from sessions.model.units import Place, Unit
from sessions.results import NeuronRow
from workbench.app.unit_filter import Filter, kind_of
from workbench.writing import inline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Rows = NDArray[np.int64]

RANK = "rank"
#: Columns that the verb `neurons` fills, by key: a row's text, or its number.
_TEXTS: Mapping[str, Callable[[NeuronRow], str]] = {
    "up": lambda row: "".join(row.up[:1]),
    "down": lambda row: "".join(row.down[:1]),
    "trigger": lambda row: "" if row.peak is None else row.peak.token,
}
_NUMBERS: Mapping[str, Callable[[NeuronRow], float | None]] = {
    "peak": lambda row: None if row.peak is None else row.peak.value,
    "rate": lambda row: row.rate,
}
#: Neurons read at a time, so that other threads get their turn.
_PIECE = 20_000


class Sort(NamedTuple):
    """The column to sort by, and whether downwards. `rank` is the circuit's own order."""

    key: str = RANK
    down: bool = False


class CircuitColumns:
    """A circuit's numbers, one array per column, missing ones as NaN. Each array is built at its first use."""

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self._making = threading.Lock()

    def __len__(self) -> int:
        return len(self.circuit.neurons)

    @property
    def layers(self) -> Numbers:
        return self._column("layer")

    @property
    def indices(self) -> Numbers:
        return self._column("index")

    @property
    def kinds(self) -> Numbers:
        """The kinds of units, as their places in `LETTERS`."""
        return self._column("kind")

    @property
    def positions(self) -> Numbers:
        """The positions; NaN for a neuron at all positions."""
        return self._column("position")

    @property
    def attributions(self) -> Numbers:
        return self._column("attribution")

    @property
    def effects(self) -> Numbers:
        return self._column("effect")

    @property
    def activations(self) -> Numbers:
        return self._column("activation")

    def arranged(
        self, sort: Sort, wanted: Filter, rows: Mapping[Place, NeuronRow], marks: Collection[int] = ()
    ) -> Rows | None:
        """The rows that pass the filter, sorted; None for all rows in the circuit's order."""
        import numpy as np

        kept = self.mask(wanted, rows, marks)
        if sort.key == RANK:
            if kept is None and not sort.down:
                return None
            passing: Rows = np.arange(len(self)) if kept is None else np.flatnonzero(kept)
            return passing[::-1] if sort.down else passing
        values = self.sorted_by(sort.key, rows)
        order: Rows = np.argsort(-values if sort.down else values, kind="stable")
        return order if kept is None else order[kept[order]]

    def sorted_by(self, key: str, rows: Mapping[Place, NeuronRow]) -> Numbers:
        """The numbers that a column is sorted by; for texts, their alphabetical ranks."""
        match key:
            case "layer":
                return self.layers
            case "index":
                return self.indices
            case "position":
                return self.positions
            case "activation":
                return self.activations
            case "attribution":
                return self.attributions
            case "effect":
                return self.effects
            case "share":
                return self.attributions if self.circuit.target.value >= 0 else -self.attributions
            case "token":
                return self._at_positions(_places(self.circuit.tokens))
        return self._fetched(key, rows)

    def mask(self, wanted: Filter, rows: Mapping[Place, NeuronRow], marks: Collection[int] = ()) -> Mask | None:
        """Which rows pass the filter; None if all do."""
        import numpy as np

        kept: list[Mask] = []
        if wanted.layers:
            kept.append(_within(self.layers, wanted.layers))
        if wanted.indices:
            kept.append(_within(self.indices, wanted.indices))
        if wanted.kinds:
            kept.append(np.isin(self.kinds, wanted.kinds))
        if wanted.positions:
            ranges = [(self._position(first), self._position(last)) for first, last in wanted.positions]
            kept.append(_within(self.positions, ranges))
        if wanted.signs:
            signs = np.sign(self.attributions)
            kept.append(np.isin(signs, [1.0 if sign == "+" else -1.0 for sign in wanted.signs]))
        if wanted.marked:
            kept.append(self._only(marks))
        if wanted.neurons:
            kept.append(np.logical_or.reduce([self._named(*neuron) for neuron in wanted.neurons]))
        if wanted.wholes:
            kept.append(np.logical_or.reduce([self._mentions(number, rows) for number in wanted.wholes]))
        kept += [compared.holds(self._compared(compared.key, rows)) for compared in wanted.comparisons]
        kept += [self._saying(text, rows) for text in wanted.texts]
        return np.logical_and.reduce(kept) if kept else None

    def places(self, places: Collection[Place]) -> dict[Place, int]:
        """The rows of the neurons at these places, for those that the circuit has."""
        import numpy as np

        if not places:
            return {}
        sites = _mixed(np.array([place[:2] for place in places], float).T)
        candidates = np.flatnonzero(np.isin(_mixed(np.stack([self.layers, self.indices])), sites)).tolist()
        neurons = self.circuit.neurons
        return {neurons[row].place: row for row in reversed(candidates) if neurons[row].place in places}

    def same_site(self, row: int) -> list[int]:
        """The rows of the same neuron, at all its positions."""
        import numpy as np

        same = (self.layers == self.layers[row]) & (self.indices == self.indices[row])
        same &= self.kinds == self.kinds[row]
        return np.flatnonzero(same).tolist()

    def total(self, chosen: Mask) -> tuple[int, float]:
        """How many rows are chosen, and the sum of their attributions."""
        import numpy as np

        return int(chosen.sum()), float(np.nansum(self.attributions[chosen]))

    def _position(self, position: int) -> int:
        """The position from the beginning of the text."""
        return position + len(self.circuit.tokens) if position < 0 else position

    def _named(self, layer: int, kind: int | None, index: int | None, position: int | None) -> Mask:
        """The rows of a unit, or of a layer; at one position, or at all."""
        kept: Mask = self.layers == layer
        if kind is not None:
            kept &= self.kinds == kind
        if index is not None:
            kept &= self.indices == index
        if position is not None:
            kept &= self.positions == self._position(position)
        return kept

    def _mentions(self, number: int, rows: Mapping[Place, NeuronRow]) -> Mask:
        """The rows with this layer or index, or with the number in a text."""
        return (self.layers == number) | (self.indices == number) | self._saying(str(number), rows)

    def _compared(self, key: str, rows: Mapping[Place, NeuronRow]) -> Numbers:
        """The numbers of a column as the table shows them."""
        if key != "share":
            return self.sorted_by(key, rows)
        return self.attributions / (self.circuit.target.value or float("nan"))

    def _column(self, name: str) -> Numbers:
        with self._making:
            if name not in self._made:
                self._made[name] = _read(self.circuit, kind_of if name == "kind" else attrgetter(name))
            return self._made[name]

    @cached_property
    def _made(self) -> dict[str, Numbers]:
        return {}

    def _at_positions(self, values: Sequence[float]) -> Numbers:
        """For each row the value at its position; NaN if it has none."""
        import numpy as np

        table = np.array([*values, np.nan], float)
        positions = self.positions
        known = (positions >= 0) & (positions < len(values))
        return table[np.where(known, positions, len(values)).astype(np.int64)]

    def _fetched(self, key: str, rows: Mapping[Place, NeuronRow]) -> Numbers:
        """The numbers of a column that `neurons` fills, or the alphabetical ranks of its texts; NaN if unknown."""
        import numpy as np

        values: Numbers = np.full(len(self), np.nan)
        at = self.places(rows.keys())
        known = [rows[place] for place in at]
        if key in _TEXTS:
            values[list(at.values())] = _places([_TEXTS[key](row) for row in known])
        else:
            values[list(at.values())] = np.array([_NUMBERS[key](row) for row in known], float)
        return values

    def _only(self, chosen: Collection[int]) -> Mask:
        import numpy as np

        kept: Mask = np.zeros(len(self), bool)
        kept[list(chosen)] = True
        return kept

    def _saying(self, text: str, rows: Mapping[Place, NeuronRow]) -> Mask:
        """Rows with the text in their token, in a token that they push, or in the token of their peak."""
        kept: Mask = self._at_positions([_has(token, text) for token in self.circuit.tokens]) == 1
        saying = {
            place
            for place, row in rows.items()
            if any(_has(token, text) for token in (*row.up, *row.down, *([row.peak.token] if row.peak else [])))
        }
        kept[list(self.places(saying).values())] = True
        return kept


_last: CircuitColumns | None = None


def is_like(one: Circuit | None, other: Circuit | None) -> bool:
    """Whether both are the same circuit, apart from measured effects."""
    return one is not None and other is not None and one.is_like(other)


def columns_of(circuit: Circuit) -> CircuitColumns:
    """The columns of a circuit. Those of the last circuit are cached."""
    global _last
    if _last is None or _last.circuit is not circuit:
        _last = CircuitColumns(circuit)
    return _last


def row_of(circuit: Circuit, name: str) -> int | None:
    """The row of the circuit's neuron with this name, or of its first one at any position; None if it has none."""
    try:
        neuron = Unit.parse(name)
    except WorkbenchError:
        return None
    columns = columns_of(circuit)
    exact = columns.places({neuron.place}).get(neuron.place)
    if exact is not None or neuron.position is not None:
        return exact
    here = (columns.layers == neuron.layer) & (columns.indices == neuron.index) & (columns.kinds == kind_of(neuron))
    rows = here.nonzero()[0]
    return int(rows[0]) if len(rows) else None


def _read(circuit: Circuit, number: Callable[[Any], Any]) -> Numbers:
    import numpy as np

    neurons = circuit.neurons
    values: Numbers = np.empty(len(neurons))
    for start in range(0, len(neurons), _PIECE):
        piece = neurons[start : start + _PIECE]
        values[start : start + _PIECE] = np.array(list(map(number, piece)), float)
    return values


def _within(values: Numbers, ranges: Collection[tuple[int, int]]) -> Mask:
    import numpy as np

    return np.logical_or.reduce([(values >= first) & (values <= last) for first, last in ranges])


def _mixed(pair: Numbers) -> Numbers:
    """A hash of a layer and an index; two pairs may have the same."""
    return pair[0] * 10_000_019.0 + pair[1]


def _places(texts: Sequence[str]) -> list[float]:
    """The alphabetical ranks of texts; NaN for an empty text, so that it comes last."""
    known = sorted(set(texts), key=lambda text: (text.strip().casefold(), text))
    places = {text: float(place) for place, text in enumerate(known)}
    return [places[text] if text else float("nan") for text in texts]


def _has(token: str, text: str) -> bool:
    return text in token.casefold() or text in inline(token).casefold()
