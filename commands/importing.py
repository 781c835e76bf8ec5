"""Circuits, tensors and files of earlier projects, read from files: `import`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import structs

from commands.artifacts import FAMILY
from commands.earlier import configuration_imported, inventory_imported, maxima_imported, pickle_imported
from commands.file_import import FileImport
from commands.verb import verb
from sessions.artifacts import KINDS, Key, body_of, check_model, opened
from sessions.circuits import files
from sessions.circuits.circuit import Circuit
from sessions.earlier import inventories
from sessions.earlier.maxima import maxima_in
from sessions.errors import ArtifactError, UsageError
from sessions.files.disk import read_file
from sessions.files.layouts import Header
from sessions.model.info import same_model
from sessions.procedures.circuits import check_circuit_fits, take_circuit
from sessions.results import Exported, FileShown, Imported, Saved
from sessions.session import Session

#: Endings of files that torch.save wrote, of configurations, and of tensors.
_PICKLES, _CONFIGURATIONS, _TENSORS = (".pt", ".pth", ".bin"), (".yaml", ".yml"), ".safetensors"
#: What files of tensors can be imported as.
_OF_TENSORS = {"vector": "a vector", "edit": "an edit", "means": "means", "lens": "a lens"}


@verb(
    "import",
    family=FAMILY,
    synonyms=("read file", "from file", "upload"),
    example=("import circuit.json --as texas2", "import known.json --as preset:calm", "import diff.pt --top 300"),
)
class ImportFile(FileImport, frozen=True):
    """Read a circuit from a file into the session, or save a vector, an edit or a preset from one.

    What becomes of a file depends on what is in it:

    A circuit (.json) becomes the session's. A file of the reference implementation does not say which model it is
    from; its neurons are checked against the open one.
    A vector, means, a lens or an edit that was exported here (.safetensors) is saved under its own name, unless --as
    gives another.
    An inventory of known neurons (.json) is saved as a preset: import known.json --as preset:calm. Presets inside it
    are saved too, as NAME.ITS-NAME.
    The maxima of an atlas (.json) are shown. With --as preset:NAME they are kept: preset:NAME:top300 selects the
    strongest.

    Files of earlier projects that torch.save wrote (.pt) are read as plain data; nothing in them is run. The signature
    of a neuron, or deltas of neurons, become an edit. Differences of activations, or a scan of dead neurons, become a
    preset. The factors of a LoRA become an adapter, and the recruits of training a round. Means of all neurons are kept
    to compare with: import diff.pt --as means:base --key base_means. Of any other file the contents are shown.

    A configuration of their rounds (.yaml) becomes a command file; one with neurons under enabled becomes a preset.
    """

    def run(self, session: Session) -> Imported | Saved | Exported | FileShown:
        ending, source = self.path.suffix.lower(), str(self.path)
        if ending in _PICKLES:
            return pickle_imported(session, self)
        self.refuse(("alpha", "beta", "key"), "is for a file that torch.save wrote")
        data = read_file(self.path.absolute()) if ending == ".json" else b""
        maxima = maxima_in(data, source) if data else None
        if maxima is not None:
            return maxima_imported(session, self, maxima)
        self.refuse(("top", "layer"), "is for differences of activations, and for the maxima of an atlas")
        if ending in _CONFIGURATIONS:
            return configuration_imported(session, self)
        if self.name is not None and self.name.kind in (("preset",) if ending == _TENSORS else _OF_TENSORS):
            tensors = "a vector, means, a lens or an edit"
            what = tensors if ending == _TENSORS else "a circuit or an inventory of known neurons"
            raise UsageError(
                f"a {self.path.suffix} file holds {what}, not a {self.name.kind}", f"for example: --as {self.name.name}"
            )
        data = data or read_file(self.path.absolute())
        if ending == _TENSORS:
            return _tensors_imported(session, self, data)
        if self.name is not None and self.name.kind == "preset":
            return inventory_imported(session, self, inventories.read_inventory(data, source), self.name)
        return _circuit_imported(session, self, data)


# ---- circuits


def _circuit_imported(session: Session, request: FileImport, data: bytes) -> Imported:
    circuit, notes = _circuit_in(data, request), []
    if session.model is not None:
        from sessions.circuits.foreign import as_formatted, with_target

        info = session.model.info
        notes.append(check_model(circuit.fingerprint, circuit.model, info.fingerprint, info.name, request.force))
        if not circuit.fingerprint:
            circuit = structs.replace(circuit, model=info.name, fingerprint=info.fingerprint)
        circuit, more = as_formatted(circuit, session.model)
        check_circuit_fits(session, circuit)
        circuit, remarks = with_target(circuit, session.model, session.cancel)
        notes += more + remarks
    if request.name is not None:
        circuit = structs.replace(circuit, name=request.name.name)
        about = {"model": circuit.model, "fingerprint": circuit.fingerprint, "command": request.line_as(request.name)}
        session.store.save("circuit", request.name.name, circuit, **about, force=request.force)
    notes.append(take_circuit(session, circuit))
    return Imported(path=str(request.path), circuit=circuit, notes=tuple(filter(None, notes)))


def _circuit_in(data: bytes, request: FileImport) -> Circuit:
    source = str(request.path)
    try:
        return files.read_circuit(data, source)
    except ArtifactError as error:
        try:
            inventories.read_inventory(data, source)
        except ArtifactError:
            raise error from None
        raise ArtifactError(
            f"{source} is not a circuit but an inventory of known neurons",
            f"{request.line_as(Key('preset', 'NAME'))} reads it",
        ) from error


# ---- vectors, edits, means and lenses


def _tensors_imported(session: Session, request: FileImport, data: bytes) -> Saved:
    """What an exported file of tensors holds, saved under its own name or the one that is given; where a model is open,
    it has to fit."""
    source = str(request.path)
    kind = KINDS["edit"].layout.stamp(data, source).kind  # which every file of tensors is stamped with
    if (
        request.name is not None
        and request.name.kind in _OF_TENSORS
        and kind in _OF_TENSORS
        and request.name.kind != kind
    ):
        raise UsageError(f"{source} holds {_OF_TENSORS[kind]}", f"--as {kind}:{request.name.name}")
    kind = kind if kind in _OF_TENSORS else "vector"  # as which it is refused
    type_, fits = _reader(kind)
    artifact = opened(data, kind, source)
    header, body, notes = artifact.header, body_of(artifact, type_, source), []
    if session.model is not None:
        info = session.model.info
        notes.append(check_model(header.fingerprint, header.model, info.fingerprint, info.name, request.force))
        fits(session, body, header)
    key = Key(kind, header.name if request.name is None else request.name.name)
    # The line of a vector has always named it without its kind.
    line = request.line_as(Key("circuit", key.name) if kind == "vector" else key)
    about = {"model": header.model, "fingerprint": header.fingerprint, "command": line}
    path = session.store.save(kind, key.name, body, **about, force=request.force)
    if kind == "edit":
        notes.append(f"edits load {key.name} applies it")
    return Saved(name=str(key), path=str(path), notes=tuple(filter(None, notes)))


def _reader(kind: str) -> tuple[type[Any], Callable[[Session, Any, Header], None]]:
    """What a kind is read as, and the check that it fits the open model."""
    if kind == "edit":
        from sessions.edits.files import EditFile

        return EditFile, _edit_fits
    if kind == "means":
        from sessions.circuits.means import Means

        return Means, _shape_fits
    if kind == "lens":
        from sessions.lenses.fitted import FittedLens

        return FittedLens, _shape_fits
    from sessions.directions.vector import Vector

    return Vector, _vector_fits


def _edit_fits(session: Session, file: Any, header: Header) -> None:
    with file.edit.applied(session.opened()):
        pass


def _shape_fits(session: Session, artifact: Any, header: Header) -> None:
    if same_model(header.fingerprint, session.opened().info.fingerprint):
        artifact.check(session.opened().anatomy)


def _vector_fits(session: Session, vector: Any, header: Header) -> None:
    from sessions.directions.vector import check_origin

    model = session.opened()
    vector.check(model.anatomy)
    if vector.origin is not None and same_model(header.fingerprint, model.info.fingerprint):
        check_origin(vector.origin, model.anatomy)
