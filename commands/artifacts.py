"""What is kept by name: `save`, `load`, `list`, `delete`, `export`, `import`."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import structs

from commands.choices import OneOf
from commands.line import quoted
from commands.names import ArtifactName, FileName, Name, SavedName
from commands.presets import check_neurons
from commands.verb import argument, option, verb
from sessions.circuits import files
from sessions.circuits.circuit import Circuit
from sessions.disk import read_file, write_file
from sessions.errors import ArtifactError, UsageError
from sessions.interventions import inventories
from sessions.interventions.presets import Preset
from sessions.results import Deleted, Exported, Imported, Listed, Loaded, Saved
from sessions.session import Session
from sessions.store import Key, body_of, check_model, opened

FAMILY = "Saved by name"


@verb("save", family=FAMILY, example="save texas")
@argument("name", help="letters, digits, '.', '_' and '-', at most 64", type=Name())
@option("--force", is_flag=True, help="replace what has that name; the earlier file goes to the trash")
def save(session: Session, name: str, force: bool) -> Saved:
    """Save the circuit under a name, with everything needed to read it again."""
    circuit = session.found()
    named = structs.replace(circuit, name=name)
    path = session.store.save(
        "circuit",
        name,
        named,
        model=circuit.model,
        fingerprint=circuit.fingerprint,
        command=f"save {quoted(name)}",
        force=force,
    )
    session.circuit = named
    return Saved(name=name, path=str(path))


@verb("load", family=FAMILY, example="load texas")
@argument("name", help="the name it was saved under", type=SavedName())
@option("--force", is_flag=True, help="even if it was made on another model")
def load(session: Session, name: str, force: bool) -> Loaded:
    """Load a saved circuit, with its prompt, into the session.

    A circuit belongs to the weights it was found on. It is refused on others, unless --force.
    """
    circuit, notes = session.read_circuit(name, force=force)
    _check(session, circuit)
    _take(session, circuit)
    return Loaded(name=name, circuit=circuit, notes=notes)


def _take(session: Session, circuit: Circuit) -> None:
    """Make it the session's circuit, and its prompt the session's; it has been checked."""
    if circuit.prompt.text and session.model is not None:
        session.use_prompt(circuit.prompt)
    elif circuit.prompt.text:
        session.prompt = circuit.prompt
    session.circuit = circuit


def _check(session: Session, circuit: Circuit) -> None:
    """Refuse a circuit whose neurons or prompt the open model, if there is one, cannot take."""
    if session.model is None:
        return
    anatomy = session.model.anatomy
    if circuit.prompt.text:
        session.read(circuit.prompt)
    for neuron in circuit.neurons:
        try:
            anatomy.check(neuron.layer, neuron.index)
        except UsageError as error:
            raise ArtifactError(
                f"the circuit has a neuron {neuron} that this model lacks: {error.message}",
                "open the model it came from",
            ) from error


@verb("list", family=FAMILY, example="list")
def list_(session: Session) -> Listed:
    """List what is saved."""
    return Listed(rows=tuple(session.store.rows()))


@verb("delete", family=FAMILY, example="delete texas")
@argument("name", help="its name; vector:NAME, preset:NAME or atlas:NAME for one of these", type=ArtifactName())
@option("--restore", is_flag=True, help="bring back what was deleted last under that name")
def delete(session: Session, name: Key, restore: bool) -> Deleted | Saved:
    """Delete what was saved; `delete NAME --restore` brings it back."""
    if restore:
        return Saved(name=str(name), path=str(session.store.restore(name.kind, name.name)))
    session.store.delete(name.kind, name.name)
    return Deleted(name=str(name), restore=f"delete {quoted(str(name))} --restore")


_FORMATS = {
    "json": "a circuit, everything in it, a preset as an inventory of known neurons, or an atlas's strongest maxima",
    "reference": "a circuit as the reference implementation's file",
    "csv": "a circuit's neuron table",
    "safetensors": "a vector, everything in it",
    "gguf": "a vector as llama.cpp's control vector",
}
#: What each kind can be written as, its usual format first.
_WRITTEN_AS = {
    "circuit": ("json", "reference", "csv"),
    "vector": ("safetensors", "gguf"),
    "preset": ("json",),
    "atlas": ("json", "safetensors"),
}


@verb("export", family=FAMILY, example="export texas.csv")
@argument("path", help="the file to write; its ending chooses the format", type=FileName())
@option("--format", type=OneOf("format", _FORMATS), help="how to write it (default: by the file's ending)")
@option("--name", type=ArtifactName(), help="what was saved: a circuit's name, vector:, preset: or atlas:NAME")
@option("--force", is_flag=True, help="replace the file if it exists")
def export(session: Session, path: Path, format: str | None, name: Key | None, force: bool) -> Exported:
    """Write a circuit, a vector, a preset or an atlas to a file, for other programs.

    A vector at resid_post becomes a control vector for llama.cpp: export calm.gguf --name vector:calm. There
    direction N is added to what leaves layer N; it has none for layer 0, which is left out. A preset becomes a JSON
    inventory of known neurons: export known.json --name preset:calm. Of an atlas, the strongest activation of each
    neuron is written, with its text, its position and its token: export maxima.json --name atlas:small.
    """
    kind = "circuit" if name is None else name.kind
    if os.path.isdir(path):
        raise UsageError(f"'{path}' is a folder", f"name a file in it: {path / kind}.{_WRITTEN_AS[kind][0]}")
    chosen = format or path.suffix.lower().removeprefix(".")
    if chosen in _FORMATS and chosen not in _WRITTEN_AS[kind]:
        raise UsageError(
            f"a {kind} cannot be written as {chosen}",
            "name a vector: --name vector:NAME" if kind == "circuit" else f"one of: {', '.join(_WRITTEN_AS[kind])}",
        )
    chosen = chosen if chosen in _FORMATS else _WRITTEN_AS[kind][0]
    if name is not None and name.kind == "vector":
        content, notes = _vector_file(session, name.name, chosen)
    elif name is not None and name.kind == "atlas":
        content, notes = _atlas_file(session, name.name, chosen), ()
    elif name is not None and name.kind == "preset":
        content, notes = _preset_file(session, name.name), ()
    else:
        circuit = session.found() if name is None else session.read_circuit(name.name, force=True)[0]
        content, notes = _circuit_file(circuit, chosen), ()
    written = write_file(path.absolute(), content, force=force, what=f"'{path}'")
    return Exported(path=str(written), format=chosen, notes=notes)


def _circuit_file(circuit: Circuit, format: str) -> bytes:
    if format == "csv":
        return files.write_csv(circuit).encode()
    return (files.write_json if format == "json" else files.write_reference)(circuit)


def _vector_file(session: Session, name: str, format: str) -> tuple[bytes, tuple[str, ...]]:
    from sessions.vectors.gguf import write_gguf

    vector, _ = session.read_vector(name, force=True)
    if format == "safetensors":  # its own file, which has just been found in order
        return read_file(session.store.path("vector", name)), ()
    left_out = ("llama.cpp has no direction at layer 0: it is left out",) if 0 in vector.layers else ()
    return write_gguf(vector), left_out


def _atlas_file(session: Session, name: str, format: str) -> bytes:
    from sessions.atlas.telling import reference

    found, _ = session.read_atlas(name, force=True)
    # Its own file has just been found in order.
    return read_file(session.store.path("atlas", name)) if format == "safetensors" else reference(found)


def _preset_file(session: Session, name: str) -> bytes:
    header, preset = session.store.load("preset", name, Preset)
    about = {"model": header.model, "fingerprint": header.fingerprint}
    return inventories.written(preset, f"preset '{name}'", {key: text for key, text in about.items() if text})


_IMPORTED = ("circuit", "vector", "preset")


@verb("import", family=FAMILY, example="import circuit.json --as texas2")
@argument("path", help="a circuit file: exported here, or of the reference implementation", type=FileName(".json"))
@option(
    "--as",
    "name",
    type=ArtifactName(kinds=_IMPORTED),
    help="save it under this name at once; preset:NAME for an inventory",
)
@option("--force", is_flag=True, help="even if it was made on another model; replace what has the name")
def import_(session: Session, path: Path, name: Key | None, force: bool) -> Imported | Saved:
    """Read a circuit from a file into the session, or save a vector or a preset from one.

    Reference circuit files say nothing of the model they come from; the neurons are checked against
    the open one. A .safetensors file is a vector that was exported here: it is saved, under its own name
    unless there is another. An inventory of known neurons is saved as a preset: import known.json --as preset:calm.
    """
    is_vector = path.suffix.lower() == ".safetensors"
    if name is not None and name.kind == ("preset" if is_vector else "vector"):
        held = "a vector" if is_vector else "a circuit or an inventory of known neurons"
        raise UsageError(f"a {path.suffix} file holds {held}, no {name.kind}", f"for example: --as {name.name}")
    if is_vector:
        return _import_vector(session, path, None if name is None else name.name, force)
    if name is not None and name.kind == "preset":
        return _import_preset(session, path, name, force)
    circuit = _circuit_in(read_file(path.absolute()), str(path))
    notes = []
    if session.model is not None:
        info = session.model.info
        notes.append(check_model(circuit.fingerprint, circuit.model, info.fingerprint, info.name, force))
        if not circuit.fingerprint:
            circuit = structs.replace(circuit, model=info.name, fingerprint=info.fingerprint)
        _check(session, circuit)
        circuit = _with_target_ids(session, circuit)
    if name is not None:
        circuit = structs.replace(circuit, name=name.name)
        command = f"import {quoted(str(path))} --as {quoted(name.name)}"
        session.store.save(
            "circuit",
            name.name,
            circuit,
            model=circuit.model,
            fingerprint=circuit.fingerprint,
            command=command,
            force=force,
        )
    _take(session, circuit)
    return Imported(path=str(path), circuit=circuit, notes=tuple(filter(None, notes)))


def _circuit_in(data: bytes, source: str) -> Circuit:
    try:
        return files.read_circuit(data, source)
    except ArtifactError as error:
        try:
            inventories.read_inventory(data, source)
        except ArtifactError:
            raise error from None
        raise ArtifactError(
            f"{source} is no circuit but an inventory of known neurons",
            f"import {quoted(source)} --as preset:NAME reads it",
        ) from error


def _import_preset(session: Session, path: Path, key: Key, force: bool) -> Saved:
    preset = inventories.read_inventory(read_file(path.absolute()), str(path))
    stated = (preset.more.get(key) for key in ("model", "fingerprint"))
    model, fingerprint = (text if isinstance(text, str) else "" for text in stated)
    notes = []
    if session.model is not None:
        info = session.model.info
        notes.append(check_model(fingerprint, model, info.fingerprint, info.name, force))
        check_neurons(session, key.name, preset)
    saved = session.store.save(
        key.kind,
        key.name,
        preset,
        model=model,
        fingerprint=fingerprint,
        command=f"import {quoted(str(path))} --as {quoted(str(key))}",
        force=force,
    )
    return Saved(name=str(key), path=str(saved), notes=tuple(filter(None, notes)))


def _with_target_ids(session: Session, circuit: Circuit) -> Circuit:
    """A foreign file gives its target as text: look up the token it is for the open model."""
    from sessions.model.tokens import continuation

    target, tokenizer = circuit.target, session.opened().tokenizer
    if not circuit.prompt.text or not any(token.id == files.UNKNOWN_ID for token in target.tokens):
        return circuit
    text = "".join(token.text for token in target.tokens)
    found = continuation(tokenizer, session.read(circuit.prompt), text)
    return structs.replace(circuit, target=structs.replace(target, tokens=found.tokens[:1]))


def _import_vector(session: Session, path: Path, name: str | None, force: bool) -> Saved:
    from sessions.vectors.vector import Vector

    artifact = opened(read_file(path.absolute()), "vector", str(path))
    header, vector = artifact.header, body_of(artifact, Vector, str(path))
    notes = []
    if session.model is not None:
        info = session.model.info
        notes.append(check_model(header.fingerprint, header.model, info.fingerprint, info.name, force))
        vector.check(session.model.anatomy)
    key = Key("vector", name or header.name)
    saved = session.store.save(
        key.kind,
        key.name,
        vector,
        model=header.model,
        fingerprint=header.fingerprint,
        command=f"import {quoted(str(path))} --as {quoted(key.name)}",
        force=force,
    )
    return Saved(name=str(key), path=str(saved), notes=tuple(filter(None, notes)))
