"""From neurons chosen on the screen to a line about them, as short as it can be said, for the user to go on with."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import click

from commands.grammar import VERBS
from sessions.circuits.circuit import Circuit
from sessions.model.units import Neuron
from workbench.app.columns import columns_of

#: Letters that put a verb with the chosen neurons into the command line; those of verbs that do not exist are free.
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
#: Verbs to which a neuron is the same at every position.
_ANYWHERE = ("suppress",)

#: So many neurons are always written out.
_FEW = 5
#: So many are still written out where nothing shorter says which they are.
_MANY = 2000
#: So many are left out of a beginning of the circuit, one by one.
_LEFT_OUT = 20


def letters() -> dict[str, str]:
    """The letters whose verbs exist."""
    return {letter: verb for letter, verb in LETTERS.items() if verb in VERBS}


def line(verb: str, circuit: Circuit, rows: Collection[int]) -> str | None:
    """A line about some neurons of the circuit, to be gone on with; None where there are too many to say which.

    Written out, a neuron is meant at its position, unless the verb knows none; other selections need the verb's option
    for that.
    """
    chosen = sorted(rows)
    if verb == "inject":  # which takes states, and watches neurons
        watched = dict.fromkeys(circuit.neurons[row].site for row in chosen)
        return (
            f"inject --observe {','.join(str(Neuron(*site)) for site in watched)} " if len(watched) <= _MANY else None
        )
    short = _short(circuit, chosen) if len(chosen) > _FEW else None
    if short is not None:
        return f"{verb} {short} --at circuit " if _has_positions(verb) else f"{verb} {short} "
    neurons = [circuit.neurons[row] for row in chosen]
    if verb in _ANYWHERE:
        neurons = [Neuron(*site) for site in dict.fromkeys(neuron.site for neuron in neurons)]
    return None if len(neurons) > _MANY else f"{verb} {listed(neurons)} "


def listed(neurons: Sequence[Neuron]) -> str:
    """The neurons, written out."""
    return ",".join(map(str, neurons))


def _has_positions(verb: str) -> bool:
    options = (option for option in VERBS[verb].params if isinstance(option, click.Option))
    return any("--at" in option.opts for option in options)


def _short(circuit: Circuit, chosen: Sequence[int]) -> str | None:
    """Many rows of the circuit in a few words; None where there are none for them."""
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
        return None  # one without a position would take others with it
    return " - ".join([first, *map(str, left_out)])


def _layers(circuit: Circuit, chosen: Sequence[int]) -> str | None:
    """`L9-26/*` or `L24/*@41` where the rows are all that the circuit has there."""
    columns = columns_of(circuit)
    layers, positions = columns.layers[chosen], columns.positions[chosen]
    first, last = layers.min(), layers.max()
    there = (columns.layers >= first) & (columns.layers <= last)
    words = f"L{int(first)}/*" if first == last else f"L{int(first)}-{int(last)}/*"
    if there.sum() == len(chosen):
        return words
    if (positions == positions[0]).all() and (there & (columns.positions == positions[0])).sum() == len(chosen):
        anywhere = (columns.positions != columns.positions) & there  # those stand at that position too
        return None if anywhere.any() else f"{words}@{int(positions[0])}"
    return None
