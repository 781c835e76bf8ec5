"""Checks of circuits from files: consistent in itself (`sound`), and fitting the open model (`check_fits`).

A file can be read while no model is open. So its consistency is checked when it is read, and its fit to a model as soon
as one is open.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sessions.cancel import look
from sessions.circuits.circuit import Circuit
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.model.target import Target
from sessions.model.units import BEYOND, Unit

if TYPE_CHECKING:
    from sessions.model.parts import Anatomy

#: The id of a token whose id is unknown.
UNKNOWN_ID = -1

_OTHER = "open the model it came from"


def sound(circuit: Circuit, source: str) -> Circuit:
    """The circuit, if it is sound: it has neurons, each once, at positions of its prompt, and a text for each id.

    Raises:
        ArtifactError: it is not; the message calls it `source`.
    """
    if not circuit.neurons:
        raise ArtifactError(f"{source} holds no neurons", "a circuit has at least one")
    for neuron in circuit.neurons:
        if not (0 <= neuron.layer < BEYOND and 0 <= neuron.index < BEYOND):
            raise ArtifactError(f"{source} has {neuron}: layers and neurons count from 0")
        _check_position(neuron, len(circuit.ids), source)
    places = Counter(neuron.counted(len(circuit.ids)).place for neuron in circuit.neurons)
    (place, count), *_ = places.most_common(1)
    if count > 1:
        raise ArtifactError(f"{source} has {Unit.at(place)} twice")
    if len(circuit.tokens) != len(circuit.ids):
        raise ArtifactError(f"{source} has {len(circuit.ids):,} ids and {len(circuit.tokens):,} texts of them")
    for token in (*circuit.ids, *_ids(circuit.target)):
        if not 0 <= token < BEYOND:
            raise ArtifactError(f"{source} has {token}, which is not a token id")
    return circuit


def check_fits(circuit: Circuit, anatomy: Anatomy, length: int = 0) -> None:
    """Refuse a circuit whose neurons, prompt ids or target do not fit this model.

    Args:
        length: tokens of the prompt as this model reads it, for a circuit without ids of its own; 0 where unknown.

    Raises:
        ArtifactError: it does not fit; the message says why.
    """
    for neuron in circuit.neurons:
        look()
        try:
            anatomy.coordinates(neuron)
        except (UsageError, ModelError) as error:
            raise ArtifactError(f"the circuit has {neuron}, which this model lacks: {error.message}", _OTHER) from error
        if not circuit.ids:
            _check_position(neuron, length, "the circuit")
    for what, ids in (("its prompt", circuit.ids), ("its target", _ids(circuit.target))):
        try:
            anatomy.check_tokens(ids)
        except UsageError as error:
            raise ArtifactError(
                f"the circuit has a token in {what} that this model lacks: {error.message}", _OTHER
            ) from error


def fits(circuit: Circuit, anatomy: Anatomy) -> bool:
    """Whether the circuit fits the model."""
    try:
        check_fits(circuit, anatomy)
    except ArtifactError:
        return False
    return True


def _check_position(neuron: Unit, length: int, source: str) -> None:
    """Refuse a neuron at a position outside a text of `length` tokens, where that is known."""
    position = neuron.position
    if position is not None and not -(length or BEYOND) <= position < (length or BEYOND):
        problem = f"its prompt has {length} tokens" if length else "no prompt has so many tokens"
        raise ArtifactError(f"{source} has {neuron}, and {problem}")


def _ids(target: Target) -> tuple[int, ...]:
    """The known ids of a target."""
    tokens = target.tokens if target.counterfactual is None else (*target.tokens, target.counterfactual)
    return tuple(token.id for token in tokens if token.id != UNKNOWN_ID)
