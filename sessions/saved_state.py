"""The state of a session in one file, so that it comes back after its process ended: model, prompt, circuit,
interventions, edits, conversation, settings.

The model is saved as the request that opened it, everything else as it is. Restoring goes piece by piece: what cannot
come back is named, and the rest comes back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from sessions.circuits.circuit import Circuit
from sessions.circuits.sound import check_fits, sound
from sessions.directions.features import Which
from sessions.errors import ArtifactError, WorkbenchError
from sessions.events import Steps
from sessions.files.disk import read_file, write_file
from sessions.files.json_text import decoded, escaped
from sessions.interventions.intervention import Intervention
from sessions.model.info import Conversation, Opening, Prompt, same_model
from sessions.model.units import Unit
from sessions.session import Session
from sessions.settings import Settings, within_limits

if TYPE_CHECKING:
    from sessions.edits.edit import Edit
    from sessions.edits.ledger import LedgerEntry
    from sessions.model.parts import Anatomy


class EditKept(Struct, frozen=True):
    """An edit of the ledger: name, sha256 of its file, whether it was on, and its strength relative to its file."""

    name: str
    sha256: str
    on: bool = True
    strength: float = 1.0
    brake: float = 1.0


class SavedState(Struct, frozen=True, kw_only=True):
    """The saved state of a session.

    `opening` is None where no model was open, or none that a line had opened. `fingerprint` is that of the open model:
    `suppressed` and `live` are its neurons, and `edits` change its weights, first to last. `undone` are the edits that
    redo would bring back, the next one last. `sae` is read when it is used again.
    """

    opening: Opening | None = None
    prompt: Prompt | None = None
    circuit: Circuit | None = None
    suppressed: tuple[Unit, ...] = ()
    live: tuple[Intervention, ...] = ()
    edits: tuple[EditKept, ...] = ()
    undone: tuple[EditKept, ...] = ()
    fingerprint: str = ""
    sae: Which | None = None
    history: Conversation = Conversation()
    settings: Settings = Settings()


def kept(session: Session) -> SavedState:
    """The state of the session now."""
    return SavedState(
        opening=session.opening,
        prompt=session.prompt,
        circuit=session.circuit,
        suppressed=session.suppressed,
        live=session.live,
        edits=() if session.ledger is None else _of(session.ledger.entries),
        undone=() if session.ledger is None else _of(session.ledger.undone),
        fingerprint="" if session.model is None else session.model.info.fingerprint,
        sae=session.sae,
        history=session.history,
        settings=session.settings,
    )


def write(path: Path, state: SavedState) -> None:
    """Write the state to disk, in place of the earlier one.

    Raises:
        ArtifactError: it cannot be written; the earlier one is still there.
    """
    try:
        data = msgspec.json.encode(state)
    except UnicodeEncodeError:  # a path need not be valid UTF-8: the model there will not come back
        data = msgspec.json.encode(escaped(msgspec.to_builtins(state)))
    write_file(path, data + b"\n", force=True, what="the state of the session", private=True)


def read(path: Path) -> SavedState:
    """The state that was written; an empty one where there is none.

    Raises:
        ArtifactError: the file cannot be read, or does not hold a state.
    """
    if not path.exists():
        return SavedState()
    return decoded(read_file(path), SavedState, str(path))


def restore(session: Session, state: SavedState) -> Steps[tuple[str, ...]]:
    """Bring a new session to a state. Returns what did not come back, and why.

    A model's own code runs only if the state says that the user allowed it.
    """
    missing: list[str] = []
    session.settings, session.history, session.sae = within_limits(state.settings), state.history, state.sae
    if state.opening is not None:
        try:
            yield from _reopen(session, state.opening)
        except (WorkbenchError, OSError) as error:
            missing.append(f"the model {state.opening.name} did not come back: {error}")
    if state.prompt is not None:
        try:
            _take_prompt(session, state.prompt)
        except WorkbenchError as error:
            missing.append(f"the prompt did not come back: {error}")
    if state.circuit is not None:
        try:
            session.circuit = _same_circuit(session, state.circuit)
            _take_again(session, state.circuit)
        except WorkbenchError as error:
            missing.append(f"the circuit did not come back: {error.message}")
    if state.suppressed or state.live:
        if session.model is None or not same_model(session.model.info.fingerprint, state.fingerprint):
            missing.append("what was suppressed or live did not come back: the model is not the one it was on")
        elif not _in_model(session.model.anatomy, state):
            missing.append("what was suppressed or live did not come back: it is of neurons that the model lacks")
        else:
            session.suppressed, session.live = state.suppressed, state.live
    if state.edits or state.undone:
        missing += _apply_again(session, state)
    return tuple(missing)


def _same_circuit(session: Session, circuit: Circuit) -> Circuit:
    """The circuit, if it fits the open model.

    Raises:
        WorkbenchError: it does not fit, or the model is another one.
    """
    if session.model is not None:
        if not same_model(session.model.info.fingerprint, circuit.fingerprint):
            raise ArtifactError("the model's weights have changed since it was found")
        check_fits(circuit, session.model.anatomy)
    return sound(circuit, "it")


def _take_again(session: Session, circuit: Circuit) -> None:
    """If the prompt is the circuit's, read it as the token ids that the circuit was found on."""
    if session.model is not None and session.prompt == circuit.prompt:
        session.use_prompt(session.prompt_of(circuit)[0])


def _in_model(anatomy: Anatomy, state: SavedState) -> bool:
    """Whether the model has all neurons that were suppressed or live, and each has its constant where there are any."""
    units = [*state.suppressed, *(unit for intervention in state.live for unit in intervention.neurons)]
    whole = all(len(intervention.constants) in (0, len(intervention.neurons)) for intervention in state.live)
    return whole and all(map(anatomy.has, units))


def _of(entries: Sequence[LedgerEntry]) -> tuple[EditKept, ...]:
    return tuple(
        EditKept(entry.edit.name, entry.edit.sha256, entry.on, entry.edit.strength, entry.edit.brake)
        for entry in entries
    )


def _apply_again(session: Session, state: SavedState) -> list[str]:
    """Apply the edits again in their order, and make the undone ones redoable.

    Returns:
        What did not come back. After the first edit whose file has changed nothing does, since an edit builds on those
        before it.
    """
    together = (*state.edits, *reversed(state.undone))
    for number, entry in enumerate(together):
        try:
            edit = replace(_same(session, state, entry), strength=entry.strength, brake=entry.brake)
            session.edits().apply(edit, entry.on)
        except WorkbenchError as error:
            after = len(together) - number - 1
            more = f" (nor did the {after} after it)" if after else ""
            if number > len(state.edits):
                session.edits().undo(number - len(state.edits))
            return [f"edit '{entry.name}' did not come back{more}: {error.message}"]
    if state.undone:
        session.edits().undo(len(state.undone))
    return []


def _same(session: Session, state: SavedState, kept_edit: EditKept) -> Edit:
    """An edit that was applied, from its file.

    Raises:
        WorkbenchError: its file has changed, or the model is another one.
    """
    if session.model is None or not same_model(session.model.info.fingerprint, state.fingerprint):
        raise ArtifactError("the model is not the one it was on")
    edit, _ = session.saved.read_edit(kept_edit.name, force=True)
    if edit.sha256 != kept_edit.sha256:
        raise ArtifactError("its file has changed")
    return edit


def _reopen(session: Session, opening: Opening) -> Steps[None]:
    with _working_in(opening.folder), closing(session.open(opening)) as steps:
        for event in steps:
            session.cancel.look()
            yield event


def _take_prompt(session: Session, prompt: Prompt) -> None:
    if session.model is None:
        session.prompt = prompt
    else:
        session.use_prompt(prompt)


@contextmanager
def _working_in(folder: str) -> Iterator[None]:
    """Inside the block `folder` is the working directory."""
    if not folder:
        yield
        return
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
