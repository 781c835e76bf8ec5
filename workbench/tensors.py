"""Circuits and vectors of a session as tensors: `wb.tensor()`, `wb.tensor("vector:joy", 20)`."""

from __future__ import annotations

import torch
from torch import Tensor

from sessions.circuits.circuit import Circuit
from sessions.directions.vector import Vector
from sessions.errors import UsageError
from sessions.procedures.comparing import CURRENT
from sessions.session import Session

_VECTOR, _CIRCUIT = "vector:", "circuit:"


def tensor_of(session: Session, name: str, layer: int | None, of: str) -> Tensor:
    """The circuit or vector of that name as a new tensor; see `Workbench.tensor`.

    Raises:
        UsageError: there is no circuit, it has nothing at that layer, or no such number.
        ArtifactError: nothing has that name, it is damaged, or it was made on another model.
    """
    if name.startswith(_VECTOR):
        if of != "attribution":
            raise UsageError(f"a vector has no '{of}'", "leave out `of`: it is for circuits")
        vector, _ = session.saved.read_vector(name.removeprefix(_VECTOR))
        return _of_vector(vector, layer)
    return _of_circuit(session, _circuit(session, name.removeprefix(_CIRCUIT)), layer, of)


def _of_vector(vector: Vector, layer: int | None) -> Tensor:
    if layer is not None:
        if layer not in vector.directions:
            first, last = vector.layers[0], vector.layers[-1]
            raise UsageError(
                f"vector '{vector.name}' has no direction at layer {layer}", f"its layers are {first} to {last}"
            )
        return vector.directions[layer].clone()
    widths = {len(direction) for direction in vector.directions.values()}
    if len(widths) > 1:  # neurons, in a model whose layers differ
        raise UsageError(f"the layers of vector '{vector.name}' differ in width", "name one of them: layer=9")
    return torch.stack([vector.directions[at] for at in vector.layers])


def _circuit(session: Session, name: str) -> Circuit:
    if name != CURRENT:
        return session.saved.read_circuit(name)[0]
    if session.circuit is None:
        raise UsageError("there is no circuit", 'find one: wb.discover(" Austin"), or name a saved one')
    return session.circuit


def _of_circuit(session: Session, circuit: Circuit, layer: int | None, of: str) -> Tensor:
    anatomy = session.opened().anatomy
    if layer is not None and not 0 <= layer < anatomy.n_layers:
        raise UsageError(f"there is no layer {layer}", f"the layers are 0 to {anatomy.n_layers - 1}")
    values = circuit.tensor(anatomy.n_layers, max(anatomy.widths), of)
    return values if layer is None else values[layer, : anatomy.widths[layer]].clone()
