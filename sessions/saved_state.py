"""What a session comes back with after its process ended, in one file: model, prompt, circuit, what is in force,
what was said, settings.

The model is kept as the request that opened it, everything else as it is. Restoring goes piece by piece: what
cannot be had any more is named, and the rest comes back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from sessions.circuits.circuit import Circuit, Neuron
from sessions.disk import read_file, write_file
from sessions.errors import WorkbenchError
from sessions.events import Steps
from sessions.interventions.treatment import Treatment
from sessions.json_text import decoded
from sessions.model.info import Conversation, Opening, Prompt
from sessions.session import Session
from sessions.settings import Settings
from sessions.vectors.features import Which


class SavedState(Struct, frozen=True, kw_only=True):
    """What is kept of a session. `opening` is None where no model was open, or none that a line had opened.

    `fingerprint` is that of the open model, whose neurons `suppressed` and `live` speak of. `sae` is read when it is
    used again.
    """

    opening: Opening | None = None
    prompt: Prompt | None = None
    circuit: Circuit | None = None
    suppressed: tuple[Neuron, ...] = ()
    live: tuple[Treatment, ...] = ()
    fingerprint: str = ""
    sae: Which | None = None
    history: Conversation = Conversation()
    settings: Settings = Settings()


def kept(session: Session) -> SavedState:
    """What would be kept of the session now."""
    return SavedState(
        opening=session.opening,
        prompt=session.prompt,
        circuit=session.circuit,
        suppressed=session.suppressed,
        live=session.live,
        fingerprint="" if session.model is None else session.model.info.fingerprint,
        sae=session.sae,
        history=session.history,
        settings=session.settings,
    )


def write(path: Path, state: SavedState) -> None:
    """Put the state on the disk, in place of the one before.

    Raises:
        ArtifactError: it cannot be written; the one before is still there.
    """
    write_file(path, msgspec.json.encode(state) + b"\n", force=True, what="the state of the session")


def read(path: Path) -> SavedState:
    """The state that was written; an empty one where there is none.

    Raises:
        ArtifactError: the file cannot be read, or is no such state.
    """
    if not path.exists():
        return SavedState()
    return decoded(read_file(path), SavedState, str(path))


def restore(session: Session, state: SavedState) -> Steps[tuple[str, ...]]:
    """Bring a new session to a state. Returns what did not come back, and why.

    A model comes with the code of others only where the state says that the user asked for that.
    """
    missing: list[str] = []
    session.settings, session.history, session.sae = state.settings, state.history, state.sae
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
        if session.model is None or session.model.info.fingerprint == state.circuit.fingerprint:
            session.circuit = state.circuit
        else:
            missing.append("the circuit did not come back: the model's weights have changed since it was found")
    if state.suppressed or state.live:
        if session.model is not None and session.model.info.fingerprint == state.fingerprint:
            session.suppressed, session.live = state.suppressed, state.live
        else:
            missing.append("what was suppressed or live did not come back: the model is not the one it was on")
    return tuple(missing)


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
    """Relative paths mean, inside the block, what they meant in `folder`."""
    if not folder:
        yield
        return
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
