"""The data behind the table of neurons: a circuit's numbers as arrays, sorted and filtered.

A circuit can have a million neurons. Nothing is made of them before it is asked for, and what is made is a few arrays
with one number a neuron, in the circuit's order; "row" here is always a place in that order. numpy is imported where
it is first needed. Everything may be called from a thread: no step holds the others up for long.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sessions.circuits.circuit import Circuit
from sessions.model.units import Place
from sessions.results import NeuronRow
from workbench.writing import inline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Rows = NDArray[np.int64]

RANK = "rank"
#: Columns of what `neurons` was asked, by key: a row's text, or its number.
_TEXTS: Mapping[str, Callable[[NeuronRow], str]] = {
    "up": lambda row: "".join(row.up[:1]),
    "down": lambda row: "".join(row.down[:1]),
    "trigger": lambda row: "" if row.peak is None else row.peak.token,
}
_NUMBERS: Mapping[str, Callable[[NeuronRow], float | None]] = {
    "peak": lambda row: None if row.peak is None else row.peak.value,
    "rate": lambda row: row.rate,
}
#: Those that are sorted by what has been asked.
ASKED = frozenset((*_TEXTS, *_NUMBERS))
#: Neurons looked at in one go while others wait.
_PIECE = 20_000


class Sort(NamedTuple):
    """By which column, and which way. The circuit's own order is `rank`."""

    key: str = RANK
    down: bool = False


class CircuitColumns:
    """A circuit's numbers, one array a column, missing ones as NaN; each is made when it is first asked for."""

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
    def positions(self) -> Numbers:
        """NaN where a neuron stands for all positions."""
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
        """The rows that pass the filter, in order; None where these are all rows as they stand in the circuit."""
        import numpy as np

        kept = self.mask(wanted, rows, marks)
        if sort.key == RANK:
            if kept is None and not sort.down:
                return None
            found: Rows = np.arange(len(self)) if kept is None else np.flatnonzero(kept)
            return found[::-1] if sort.down else found
        values = self.sorted_by(sort.key, rows)
        order: Rows = np.argsort(-values if sort.down else values, kind="stable")
        return order if kept is None else order[kept[order]]

    def sorted_by(self, key: str, rows: Mapping[Place, NeuronRow]) -> Numbers:
        """The numbers a column is sorted by: for one of texts, their places in the alphabet."""
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
        return self._asked(key, rows)

    def mask(self, wanted: Filter, rows: Mapping[Place, NeuronRow], marks: Collection[int] = ()) -> Mask | None:
        """Which rows pass; None where all do."""
        import numpy as np

        kept: list[Mask] = []
        if wanted.layers:
            kept.append(_within(self.layers, wanted.layers))
        if wanted.indices:
            kept.append(_within(self.indices, wanted.indices))
        if wanted.positions:
            last = len(self.circuit.tokens)
            ranges = [(a + last if a < 0 else a, b + last if b < 0 else b) for a, b in wanted.positions]
            kept.append(_within(self.positions, ranges))
        if wanted.signs:
            signs = np.sign(self.attributions)
            kept.append(np.isin(signs, [1.0 if sign == "+" else -1.0 for sign in wanted.signs]))
        if wanted.marked:
            kept.append(self._only(marks))
        kept += [self._saying(text, rows) for text in wanted.texts]
        return np.logical_and.reduce(kept) if kept else None

    def places(self, places: Collection[Place]) -> dict[Place, int]:
        """In which rows the neurons of some places are; those that the circuit has."""
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
        return np.flatnonzero(same).tolist()

    def total(self, chosen: Mask) -> tuple[int, float]:
        """How many rows are chosen, and the sum of their attributions."""
        import numpy as np

        return int(chosen.sum()), float(np.nansum(self.attributions[chosen]))

    def _column(self, name: str) -> Numbers:
        with self._making:
            if name not in self._made:
                self._made[name] = _read(self.circuit, attrgetter(name))
            return self._made[name]

    @cached_property
    def _made(self) -> dict[str, Numbers]:
        return {}

    def _at_positions(self, values: Sequence[float]) -> Numbers:
        """For each row the value of its position; NaN where it has none."""
        import numpy as np

        table = np.array([*values, np.nan], float)
        positions = self.positions
        known = (positions >= 0) & (positions < len(values))
        return table[np.where(known, positions, len(values)).astype(np.int64)]

    def _asked(self, key: str, rows: Mapping[Place, NeuronRow]) -> Numbers:
        """Of a column that was asked for, the numbers, or the places of its texts in the alphabet; NaN where it is not
        known."""
        import numpy as np

        values: Numbers = np.full(len(self), np.nan)
        found = self.places(rows.keys())
        known = [rows[place] for place in found]
        if key in _TEXTS:
            values[list(found.values())] = _places([_TEXTS[key](row) for row in known])
        else:
            values[list(found.values())] = np.array([_NUMBERS[key](row) for row in known], float)
        return values

    def _only(self, chosen: Collection[int]) -> Mask:
        import numpy as np

        kept: Mask = np.zeros(len(self), bool)
        kept[list(chosen)] = True
        return kept

    def _saying(self, text: str, rows: Mapping[Place, NeuronRow]) -> Mask:
        """Rows whose token, one that they push, or the one that woke them most has the text in it."""
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
    """Whether both are the same circuit, whatever is known of its neurons' effects."""
    return one is not None and other is not None and one.is_like(other)


def columns_of(circuit: Circuit) -> CircuitColumns:
    """The columns of a circuit; those made last are kept, for all who ask."""
    global _last
    if _last is None or _last.circuit is not circuit:
        _last = CircuitColumns(circuit)
    return _last


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
    """One number for a layer and an index; two pairs may have the same."""
    return pair[0] * 10_000_019.0 + pair[1]


def _places(texts: Sequence[str]) -> list[float]:
    """The places of texts in the alphabet; that of nothing is NaN, so that it comes last."""
    known = sorted(set(texts), key=lambda text: (text.strip().casefold(), text))
    places = {text: float(place) for place, text in enumerate(known)}
    return [places[text] if text else float("nan") for text in texts]


def _has(token: str, text: str) -> bool:
    return text in token.casefold() or text in inline(token).casefold()


_WORD = re.compile(r'"([^"]*)"?|(\S+)')
_RANGE = re.compile(r"L(\d{1,9})(?:-(\d{1,9}))?", re.IGNORECASE)
_INDEX = re.compile(r"N(\d{1,9})(?:-(\d{1,9}))?", re.IGNORECASE)
_UNFINISHED = re.compile(r"[LN]|[LN]\d+-|@-?|@-?\d+-")
_POSITION = re.compile(r"@(-?\d{1,9})(?:-(\d{1,9}))?")


class Filter(NamedTuple):
    """Which neurons to show. Words of one kind widen it, of several kinds, or further texts, narrow it.

    `L24`, `L9-26`, `N1005`, `@41` and `@-1` (the last position), `+` or `-` for the sign, `*` for the marked; anything
    else, or anything between quotes, is looked for in the token at the position, in the tokens pushed, and in the token
    that woke it most. What may become one of the former, `L` or `@`, is not looked for.
    """

    layers: tuple[tuple[int, int], ...] = ()
    indices: tuple[tuple[int, int], ...] = ()
    positions: tuple[tuple[int, int], ...] = ()
    signs: tuple[str, ...] = ()
    marked: bool = False
    texts: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> Filter:
        """The filter a user wrote; half a word is one as well."""
        found: dict[str, list[Any]] = {name: [] for name in cls._fields}
        for inside, word in _WORD.findall(text):
            if inside:
                found["texts"].append(inside.casefold())
                continue
            for name, pattern in (("layers", _RANGE), ("indices", _INDEX), ("positions", _POSITION)):
                match = pattern.fullmatch(word)
                if match:
                    found[name].append((int(match[1]), int(match[2] or match[1])))
                    break
            else:
                if _UNFINISHED.fullmatch(word):
                    continue
                kind = {"+": "signs", "-": "signs", "*": "marked"}.get(word, "texts")
                found[kind] += [word.casefold()] if word else []
        marked = bool(found.pop("marked"))
        return cls(marked=marked, **{name: tuple(values) for name, values in found.items()})
