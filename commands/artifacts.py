"""What is kept by name: `save`, `load`, `list`, `delete`, `export`, `import`."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import structs

from commands.line import quoted
from commands.verb import argument, option, verb
from commands.words import FileName, Name, OneOf, SavedName
from sessions.circuits import files
from sessions.circuits.circuit import Circuit
from sessions.disk import read_file, write_file
from sessions.errors import ArtifactError, UsageError
from sessions.results import Deleted, Exported, Imported, Listed, Loaded, Saved
from sessions.session import Session
from sessions.store import check_model

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
@argument("name", help="the name it was saved under", type=SavedName())
@option("--restore", is_flag=True, help="bring back what was deleted last under that name")
def delete(session: Session, name: str, restore: bool) -> Deleted | Saved:
    """Delete a saved circuit; `delete NAME --restore` brings it back."""
    if restore:
        return Saved(name=name, path=str(session.store.restore("circuit", name)))
    session.store.delete("circuit", name)
    return Deleted(name=name, restore=f"delete {quoted(name)} --restore")


_FORMATS = {
    "json": "the workbench's own, everything in it",
    "reference": "the reference implementation's circuit file",
    "csv": "the neuron table",
}


@verb("export", family=FAMILY, example="export texas.csv")
@argument("path", help="the file to write; .csv chooses that format", type=FileName())
@option("--format", type=OneOf("format", _FORMATS), help="json, reference or csv (default: by the file's ending)")
@option("--name", type=SavedName(), help="a saved circuit, instead of the current one")
@option("--force", is_flag=True, help="replace the file if it exists")
def export(session: Session, path: Path, format: str | None, name: str | None, force: bool) -> Exported:
    """Write the circuit to a file, for other programs."""
    circuit = session.found() if name is None else session.read_circuit(name, force=True)[0]
    if os.path.isdir(path):
        raise UsageError(f"'{path}' is a folder", f"name a file in it: {path / 'circuit.json'}")
    chosen = format or ("csv" if path.suffix.lower() == ".csv" else "json")
    content = {
        "json": lambda: files.write_json(circuit),
        "reference": lambda: files.write_reference(circuit),
        "csv": lambda: files.write_csv(circuit).encode(),
    }[chosen]()
    written = write_file(path.absolute(), content, force=force, what=f"'{path}'")
    return Exported(path=str(written), format=chosen)


@verb("import", family=FAMILY, example="import circuit.json --as texas2")
@argument("path", help="a circuit file: exported here, or of the reference implementation", type=FileName(".json"))
@option("--as", "name", type=Name(), help="save it under this name at once")
@option("--force", is_flag=True, help="even if it was made on another model; replace what has the name")
def import_(session: Session, path: Path, name: str | None, force: bool) -> Imported:
    """Read a circuit from a file into the session.

    Reference circuit files say nothing of the model they come from; the neurons are checked against
    the open one.
    """
    circuit = files.read_circuit(read_file(path.absolute()), str(path))
    notes = []
    if session.model is not None:
        info = session.model.info
        notes.append(check_model(circuit.fingerprint, circuit.model, info.fingerprint, info.name, force))
        if not circuit.fingerprint:
            circuit = structs.replace(circuit, model=info.name, fingerprint=info.fingerprint)
        _check(session, circuit)
        circuit = _with_target_ids(session, circuit)
    if name is not None:
        circuit = structs.replace(circuit, name=name)
        command = f"import {quoted(str(path))} --as {quoted(name)}"
        session.store.save(
            "circuit",
            name,
            circuit,
            model=circuit.model,
            fingerprint=circuit.fingerprint,
            command=command,
            force=force,
        )
    _take(session, circuit)
    return Imported(path=str(path), circuit=circuit, notes=tuple(filter(None, notes)))


def _with_target_ids(session: Session, circuit: Circuit) -> Circuit:
    """A foreign file gives its target as text: look up the token it is for the open model."""
    from sessions.model.tokens import continuation

    target, tokenizer = circuit.target, session.opened().tokenizer
    if not circuit.prompt.text or not any(token.id == files.UNKNOWN_ID for token in target.tokens):
        return circuit
    text = "".join(token.text for token in target.tokens)
    found = continuation(tokenizer, session.read(circuit.prompt), text)
    return structs.replace(circuit, target=structs.replace(target, tokens=found.tokens[:1]))
