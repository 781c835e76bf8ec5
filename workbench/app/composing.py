"""Composes a line for the user to continue, with the shortest selection of the neurons chosen on the screen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import click

from commands.grammar import VERBS
from sessions.circuits.circuit import Circuit
from sessions.model.units import Unit
from workbench.app.columns import columns_of

#: Keys that put a verb with the chosen neurons into the command line.
LETTERS: dict[str, str] = {
    "a": "ablate",
    "m": "amplify",
    "w": "sweep",
    "d": "drop",
    "K": "keep",
    "s": "suppress",
    "r": "rewrite",
    "i": "inject",
}
#: Verbs that ignore positions.
_ANYWHERE = ("suppress",)

#: Up to so many neurons are always listed one by one.
_FEW = 5
#: Up to so many are listed if no shorter selection describes them.
_MANY = 2000
#: Up to so many are subtracted one by one from the circuit's first neurons.
_LEFT_OUT = 20


def letters() -> dict[str, str]:
    """The keys whose verbs exist."""
    return {letter: verb for letter, verb in LETTERS.items() if verb in VERBS}


def line(verb: str, circuit: Circuit, rows: Collection[int]) -> str | None:
    """A line with a verb and some neurons of the circuit, to be continued; None if they are too many to list.

    A listed neuron carries its position, unless the verb ignores positions. Shorter selections get `--at circuit`.
    """
    chosen = sorted(rows)
    if verb == "inject":  # it takes states; neurons can only be observed
        watched = dict.fromkeys(circuit.neurons[row].bare for row in chosen if circuit.neurons[row].kind == "neuron")
        return f"inject --observe {listed(list(watched))} " if 0 < len(watched) <= _MANY else None
    short = _short(circuit, chosen) if len(chosen) > _FEW else None
    if short is not None:
        return f"{verb} {short} --at circuit " if _has_positions(verb) else f"{verb} {short} "
    neurons = [circuit.neurons[row] for row in chosen]
    if verb in _ANYWHERE:
        neurons = list(dict.fromkeys(neuron.bare for neuron in neurons))
    return None if len(neurons) > _MANY else f"{verb} {listed(neurons)} "


def listed(neurons: Sequence[Unit]) -> str:
    """The neurons as a comma list."""
    return ",".join(map(str, neurons))


def _has_positions(verb: str) -> bool:
    options = (option for option in VERBS[verb].params if isinstance(option, click.Option))
    return any("--at" in option.opts for option in options)


def _short(circuit: Circuit, chosen: Sequence[int]) -> str | None:
    """A short selection of many rows of the circuit; None if there is none."""
    reach = chosen[-1] + 1
    first = "all" if reach == len(circuit) else f"top{reach}"
    if reach == len(chosen):
        return first
    layers = _layers(circuit, chosen)
    if layers is not None:
        return f"all & {layers}"
    if reach - len(chosen) > _LEFT_OUT:
        return None
    kept = set(chosen)
    left_out = [circuit.neurons[row] for row in range(reach) if row not in kept]
    if any(neuron.position is None for neuron in circuit.top(reach)):
        return None  # subtracting a neuron at all positions would remove others too
    return " - ".join([first, *map(str, left_out)])


def _layers(circuit: Circuit, chosen: Sequence[int]) -> str | None:
    """`L9-26/*` or `L24/*@41` if the rows are all that the circuit has there; else None."""
    columns = columns_of(circuit)
    layers, positions = columns.layers[chosen], columns.positions[chosen]
    first, last = layers.min(), layers.max()
    there = (columns.layers >= first) & (columns.layers <= last)
    words = f"L{int(first)}/*" if first == last else f"L{int(first)}-{int(last)}/*"
    if there.sum() == len(chosen):
        return words
    if (positions == positions[0]).all() and (there & (columns.positions == positions[0])).sum() == len(chosen):
        anywhere = (columns.positions != columns.positions) & there  # neurons at all positions match it too
        return None if anywhere.any() else f"{words}@{int(positions[0])}"
    return None
