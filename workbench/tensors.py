"""Circuits and vectors of a session as tensors: `wb.tensor()`, `wb.tensor("vector:joy", 20)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sessions import saved_state
from sessions.artifacts import check_model
from sessions.circuits.circuit import Circuit
from sessions.directions.vector import Vector
from sessions.errors import ModelError, UsageError
from sessions.model.info import ModelInfo
from sessions.procedures.comparing import CURRENT
from sessions.saved import SavedArtifacts
from sessions.session import Session
from sessions.store import Store
from workbench.host.places import HostPaths

_VECTOR, _CIRCUIT = "vector:", "circuit:"


def tensor_of(session: Session, name: str, layer: int | None, of: str) -> Tensor:
    """The circuit or vector of that name as a new tensor; see `Workbench.tensor`.

    Raises:
        UsageError: there is no circuit, it has nothing at that layer, or no such number.
        ArtifactError: nothing has that name, it is damaged, or it was made on another model.
    """
    if name.startswith(_VECTOR):
        vector, _ = session.saved.read_vector(name.removeprefix(_VECTOR))
        return _of_vector(vector, layer, of)
    name = name.removeprefix(_CIRCUIT)
    circuit = session.circuit if name == CURRENT else session.saved.read_circuit(name)[0]
    return _of_circuit(_known(circuit), session.opened().anatomy.widths, layer, of)


def tensor_of_host(place: HostPaths, model: ModelInfo | None, name: str, layer: int | None, of: str) -> Tensor:
    """The same of the session of a host, read from the files in its home: the session's circuit is in the file of its
    state, which is written after every command.

    Raises:
        UsageError, ArtifactError: as for `tensor_of`.
        ModelError: no model is open.
    """
    if model is None:
        raise ModelError("no model is open", 'open one: wb.model("smollm2")')
    saved = SavedArtifacts(Store(place.home), lambda: None)
    if name.startswith(_VECTOR):
        vector, _ = saved.read_vector(name.removeprefix(_VECTOR))
        check_model(vector.fingerprint, vector.model, model.fingerprint, model.name)
        return _of_vector(vector, layer, of)
    name = name.removeprefix(_CIRCUIT)
    circuit = _known(saved_state.read(place.state).circuit if name == CURRENT else saved.read_circuit(name)[0])
    check_model(circuit.fingerprint, circuit.model, model.fingerprint, model.name)
    return _of_circuit(circuit, model.d_mlp, layer, of)


def _of_vector(vector: Vector, layer: int | None, of: str) -> Tensor:
    if of != "attribution":
        raise UsageError(f"a vector has no '{of}'", "leave out `of`: it is for circuits")
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


def _known(circuit: Circuit | None) -> Circuit:
    if circuit is None:
        raise UsageError("there is no circuit", 'find one: wb.discover(" Austin"), or name a saved one')
    return circuit


def _of_circuit(circuit: Circuit, widths: Sequence[int], layer: int | None, of: str) -> Tensor:
    """Args: widths: the neurons of each layer of the model."""
    if layer is not None and not 0 <= layer < len(widths):
        raise UsageError(f"there is no layer {layer}", f"the layers are 0 to {len(widths) - 1}")
    values = circuit.tensor(len(widths), max(widths), of)
    return values if layer is None else values[layer, : widths[layer]].clone()
