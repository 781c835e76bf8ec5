"""Saved artifacts, and the open model, as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sessions.artifacts import Key
from sessions.circuits import files
from sessions.earlier import inventories
from sessions.errors import ArtifactError
from sessions.events import Steps
from sessions.files.disk import read_file
from sessions.interventions.presets import Preset, sound
from sessions.results import ModelExported
from sessions.saved import SavedArtifacts
from sessions.session import Session

#: How the kinds that are files of tensors are read.
_READ: dict[str, Any] = {
    "vector": SavedArtifacts.read_vector,
    "atlas": SavedArtifacts.read_atlas,
    "edit": SavedArtifacts.read_edit,
    "means": SavedArtifacts.read_means,
    "lens": SavedArtifacts.read_lens,
}
#: A text for the logits that have to be the same, where there is no prompt: the first ids of any vocabulary.
_IDS = (1, 2, 3)


def file_content(session: Session, key: Key | None, format: str) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of the file, and remarks on what is left out of it."""
    if key is None or key.kind == "circuit":
        circuit = session.found() if key is None else session.saved.read_circuit(key.name, force=True)[0]
        if format == "csv":
            return files.write_csv(circuit).encode(), ()
        return (files.write_json if format == "json" else files.write_reference)(circuit), ()
    if key.kind == "preset":
        header, preset = session.store.load("preset", key.name, Preset)
        about = {"model": header.model, "fingerprint": header.fingerprint}
        what = f"preset '{key.name}'"
        return inventories.written(sound(preset, what), what, {word: text for word, text in about.items() if text}), ()
    artifact, _ = _READ[key.kind](session.saved, key.name, force=True)
    if format == "gguf":
        from sessions.directions.gguf import write_gguf

        left_out = ("llama.cpp has no direction at layer 0: it is left out",) if 0 in artifact.layers else ()
        return write_gguf(artifact), left_out
    if format == "json":
        from sessions.atlas.profiles import reference

        return reference(artifact), ()
    return read_file(session.store.path(key.kind, key.name)), ()  # its own file, which has just been found in order


def model_exported(session: Session, path: Path, force: bool) -> Steps[ModelExported]:
    """Write the open model, with the edits that are on, into a folder."""
    from sessions.edits.exporting import exported

    model, opening, ledger = session.opened(), session.opening, session.edits()
    place = path.absolute().resolve()
    own = None if opening is None else (Path(opening.folder) / Path(opening.name).expanduser()).resolve()
    if place == own or session.store.models.resolve() in (place, *place.parents):
        raise ArtifactError(f"'{path}' is the folder of a model that is opened here", "choose another folder")
    with session.unsuppressed():
        fingerprint = yield from exported(
            model,
            place,
            home=session.home,
            force=force,
            trusted=opening is not None and opening.trust_remote_code,
            ids=_IDS if session.prompt is None else session.encoded().ids,
            cancel=session.cancel,
        )
    notes = []
    if model.info.dtype == "float32":
        notes.append("written in float32, as the model is open; opened with --dtype bfloat16 it would be half as large")
    if session.suppressed or session.live:
        notes.append("suppression and live interventions change no weights, and are not in it")
    off = len(ledger.entries) - len(ledger.active)
    if off:
        notes.append(f"{off} edits that are off are not in it" if off > 1 else "the edit that is off is not in it")
    return ModelExported(
        path=str(place),
        fingerprint=fingerprint,
        dtype=model.info.dtype,
        bytes=sum(file.stat().st_size for file in place.iterdir()),
        edits=tuple(edit.name for edit in ledger.active),
        reopened=True,
        notes=tuple(notes),
    )
