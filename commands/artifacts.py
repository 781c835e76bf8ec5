"""What is kept by name: `save`, `load`, `list`, `delete`."""

from __future__ import annotations

from typing import Annotated

from msgspec import structs

from commands.names import ArtifactName, Name, SavedName
from commands.request import Arg, Flag, Request
from commands.verb import verb
from sessions.artifacts import Key
from sessions.procedures.circuits import check_circuit_fits, take_circuit
from sessions.results import Deleted, Listed, Loaded, Saved
from sessions.session import Session

FAMILY = "Saved by name"


@verb(
    "save",
    family=FAMILY,
    synonyms=("store", "save circuit", "write"),
    needs=("circuit",),
    example=("save texas", "save texas --force"),
)
class SaveCircuit(Request, frozen=True):
    """Save the circuit under a name, with everything needed to load it again."""

    name: Annotated[str, Arg(Name(), "letters, digits, '.', '_' and '-', at most 64")]
    force: Annotated[bool, Flag("replace what has that name; the earlier file goes to the trash")] = False

    def run(self, session: Session) -> Saved:
        circuit = session.found()
        named = structs.replace(circuit, name=self.name)
        path = session.store.save(
            "circuit",
            self.name,
            named,
            model=circuit.model,
            fingerprint=circuit.fingerprint,
            command=structs.replace(self, force=False).line(),
            force=self.force,
        )
        session.circuit = named
        return Saved(name=self.name, path=str(path))


@verb("load", family=FAMILY, synonyms=("open circuit", "load circuit", "read"), example=("load texas", "load"))
class LoadCircuit(Request, frozen=True):
    """Load a saved circuit and its prompt into the session.

    A circuit belongs to the weights it was found on. On other weights it is refused, unless --force is given.
    """

    name: Annotated[
        str | None, Arg(SavedName(), "the name it was saved under; without it, the circuits are listed")
    ] = None
    force: Annotated[bool, Flag("load it even if it was made on another model")] = False

    def run(self, session: Session) -> Loaded | Listed:
        if self.name is None:
            return Listed(rows=tuple(session.store.rows("circuit")))
        circuit, notes = session.saved.read_circuit(self.name, force=self.force)
        check_circuit_fits(session, circuit)
        remark = take_circuit(session, circuit)
        return Loaded(name=self.name, circuit=circuit, notes=tuple(filter(None, (*notes, remark))))


@verb("list", family=FAMILY, synonyms=("ls", "dir", "saved", "artifacts", "shelf", "library"), example="list")
class ListSaved(Request, frozen=True):
    """List what is saved: circuits, vectors, presets, atlases, means, lenses and edits."""

    reads_only = True

    def run(self, session: Session) -> Listed:
        return Listed(rows=tuple(session.store.rows()))


@verb(
    "delete",
    family=FAMILY,
    synonyms=("rm", "remove", "del", "trash", "undelete"),
    example=("delete texas", "delete vector:calm", "delete texas --restore"),
)
class DeleteSaved(Request, frozen=True):
    """Delete a saved artifact, or restore the one last deleted under its name."""

    name: Annotated[
        Key, Arg(ArtifactName(), "a circuit's name, or vector:, preset:, atlas:, means:, lens: or edit:NAME")
    ]
    restore: Annotated[bool, Flag("restore the one last deleted under that name")] = False

    def run(self, session: Session) -> Deleted | Saved:
        kind, name = self.name.kind, self.name.name
        if self.restore:
            return Saved(name=str(self.name), path=str(session.store.restore(kind, name)))
        session.store.delete(kind, name)
        applied = kind == "edit" and session.ledger is not None and session.ledger.number_of(name)
        notes = (
            ("the edit is still applied, but will not be restored with the session; undo removes it",)
            if applied
            else ()
        )
        return Deleted(name=str(self.name), restore=structs.replace(self, restore=True).line(), notes=notes)
