"""The columns of the table of neurons, and what a neuron has in each of them."""

from __future__ import annotations

from collections.abc import Mapping

from sessions.circuits.circuit import Circuit
from sessions.model.units import LETTERS, Unit
from sessions.results import NeuronRow
from workbench.app.table import TableCell, TableColumn
from workbench.writing import MISSING, percent, quoted, signed

LAYER = TableColumn("layer", "L", 12)
INDEX = TableColumn("index", "N", 12)
POSITION = TableColumn("position", "pos", 10)
TOKEN = TableColumn("token", "token", 9, 7, 18)
ATTRIBUTION = TableColumn("attribution", "attr", 11)
EFFECT = TableColumn("effect", "effect", 10)
SHARE = TableColumn("share", "share", 7)
ACTIVATION = TableColumn("activation", "act", 8)
PEAK = TableColumn("peak", "peak", 5)
TRIGGER = TableColumn("trigger", "woken by", 4, 7, 14)
RATE = TableColumn("rate", "fires", 3)
UP = TableColumn("up", "pushes up", 6, 10, 60)
DOWN = TableColumn("down", "pushes down", 2, 24, 60)
COLUMNS = (LAYER, INDEX, POSITION, TOKEN, ATTRIBUTION, EFFECT, SHARE, ACTIVATION, PEAK, TRIGGER, RATE, UP, DOWN)
#: Columns from an atlas: the strongest activation over its corpus, the token there, and the firing rate.
CORPUS = (PEAK, TRIGGER, RATE)
#: Keys of the columns that the verb `neurons` fills.
FETCHED = frozenset(column.key for column in (*CORPUS, UP, DOWN))
#: Columns that are sorted downwards first.
LARGEST_FIRST = {ATTRIBUTION.key, EFFECT.key, SHARE.key, ACTIVATION.key, PEAK.key, RATE.key}


def cells_of(circuit: Circuit, neuron: Unit, row: NeuronRow | None) -> Mapping[str, TableCell]:
    """The cells of a neuron by column; those that the verb `neurons` fills are empty without a `row`."""
    share = circuit.share(neuron)
    peak = None if row is None else row.peak
    token = circuit.token(neuron.position)
    return {
        LAYER.key: TableCell(str(neuron.layer)),
        INDEX.key: TableCell(str(neuron.index) if neuron.kind == "neuron" else f"{LETTERS[neuron.kind]}{neuron.index}"),
        POSITION.key: TableCell("all" if neuron.position is None else str(neuron.position)),
        TOKEN.key: TableCell(quoted(token) if token else MISSING),
        ATTRIBUTION.key: TableCell(signed(neuron.attribution), _sign(neuron.attribution)),
        EFFECT.key: TableCell(signed(neuron.effect), _sign(neuron.effect)),
        SHARE.key: TableCell(percent(share, sign=True), _sign(share)),
        ACTIVATION.key: TableCell(signed(neuron.activation, 2)),
        PEAK.key: TableCell("" if row is None else signed(peak.value if peak else None, 2)),
        TRIGGER.key: TableCell(quoted(peak.token) if peak else "", "faint"),
        RATE.key: TableCell("" if row is None else percent(row.rate)),
        UP.key: TableCell(" ".join(map(quoted, row.up)) if row else "", "faint"),
        DOWN.key: TableCell(" ".join(map(quoted, row.down)) if row else "", "faint"),
    }


def _sign(value: float | None) -> str:
    if not value or value != value:
        return ""
    return "up" if value > 0 else "down"
