"""What `export` and `import` do with tensors: a model and its edits as a folder; edits, vectors and more as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.files.disk import read_file
from sessions.files.layouts import Header
from sessions.lines import line_of
from sessions.model.info import same_model
from sessions.results import ModelExported, Saved
from sessions.session import Session
from sessions.store import KINDS, Key, body_of, check_model, opened

T = TypeVar("T")
#: A text for the logits that have to be the same, where there is no prompt: the first ids of any vocabulary.
_IDS = (1, 2, 3)


def _kind_in(data: bytes, source: str) -> str:
    """Which kind of artifact the bytes of a safetensors file are.

    Raises:
        ArtifactError: it is no artifact of the workbench.
    """
    return KINDS["edit"].layout.stamp(data, source).kind


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
        notes.append("it is in float32, as the model is open; opened with --dtype bfloat16 it would be half as large")
    if session.suppressed or session.live:
        notes.append("what is suppressed or live is no change of weights, and is not in it")
    off = len(ledger.entries) - len(ledger.active)
    if off:
        notes.append(f"{off} edits that are off are not in it" if off > 1 else "the edit that is off is not in it")
    return ModelExported(
        path=str(place),
        fingerprint=fingerprint,
        dtype=model.info.dtype,
        bytes=sum(each.stat().st_size for each in place.iterdir()),
        edits=tuple(edit.name for edit in ledger.active),
        reopened=True,
        notes=tuple(notes),
    )


def edit_bytes(session: Session, name: str) -> bytes:
    """The file of a saved edit, which has been found in order."""
    session.saved.read_edit(name, force=True)
    return read_file(session.store.path("edit", name))


def means_bytes(session: Session, name: str) -> bytes:
    """The file of saved means, which has been found in order."""
    session.saved.read_means(name, force=True)
    return read_file(session.store.path("means", name))


def vector_file(session: Session, name: str, format: str) -> tuple[bytes, tuple[str, ...]]:
    from sessions.directions.gguf import write_gguf

    vector, _ = session.saved.read_vector(name, force=True)
    if format == "safetensors":  # its own file, which has just been found in order
        return read_file(session.store.path("vector", name)), ()
    left_out = ("llama.cpp has no direction at layer 0: it is left out",) if 0 in vector.layers else ()
    return write_gguf(vector), left_out


def atlas_file(session: Session, name: str, format: str) -> bytes:
    from sessions.atlas.telling import reference

    found, _ = session.saved.read_atlas(name, force=True)
    # Its own file has just been found in order.
    return read_file(session.store.path("atlas", name)) if format == "safetensors" else reference(found)


def tensors_imported(session: Session, path: Path, key: Key | None, force: bool) -> Saved:
    """What an exported file of tensors holds, saved under its own name or the one that is given."""
    data, name = read_file(path.absolute()), None if key is None else key.name
    kind = _kind_in(data, str(path))
    if key is not None and key.kind in _HELD and kind in _HELD and key.kind != kind:
        raise UsageError(f"{path} holds {_HELD[kind]}", f"--as {kind}:{key.name}")
    if kind == "edit":
        return _edit_imported(session, data, path, name, force)
    if kind == "means":
        return _means_imported(session, data, path, name, force)
    return _vector_imported(session, data, path, name, force)


#: What files of tensors can be imported as.
_HELD = {"vector": "a vector", "edit": "an edit", "means": "means"}


def _edit_imported(session: Session, data: bytes, path: Path, name: str | None, force: bool) -> Saved:
    from sessions.edits.files import EditFile

    def check(file: EditFile, header: Header) -> None:
        with file.edit.applied(session.opened()):
            pass  # it fits

    saved = _kept(session, "edit", EditFile, data, path, name, force, check)
    applied = saved.name.removeprefix("edit:")
    return structs.replace(saved, notes=(*saved.notes, f"edits load {applied} applies it"))


def _means_imported(session: Session, data: bytes, path: Path, name: str | None, force: bool) -> Saved:
    from sessions.circuits.means import Means

    def check(found: Means, header: Header) -> None:
        if same_model(header.fingerprint, session.opened().info.fingerprint):
            found.check(session.opened().anatomy)

    return _kept(session, "means", Means, data, path, name, force, check)


def _vector_imported(session: Session, data: bytes, path: Path, name: str | None, force: bool) -> Saved:
    from sessions.directions.vector import Vector, check_origin

    def check(vector: Vector, header: Header) -> None:
        opened = session.opened()
        vector.check(opened.anatomy)
        if vector.origin is not None and same_model(header.fingerprint, opened.info.fingerprint):
            check_origin(vector.origin, opened.anatomy)

    return _kept(session, "vector", Vector, data, path, name, force, check)


def _kept(
    session: Session,
    kind: str,
    type_: type[T],
    data: bytes,
    path: Path,
    name: str | None,
    force: bool,
    check: Callable[[T, Header], None],
) -> Saved:
    """Save the artifact in a file that was exported, under its own name unless there is another; where a model is open,
    it has to fit, which `check` raises about."""
    artifact = opened(data, kind, str(path))
    header, body = artifact.header, body_of(artifact, type_, str(path))
    note = ""
    if session.model is not None:
        info = session.model.info
        note = check_model(header.fingerprint, header.model, info.fingerprint, info.name, force)
        check(body, header)
    key = Key(kind, name or header.name)
    told = key.name if kind == "vector" else key  # the line of a vector has always named it without its kind
    saved = session.store.save(
        kind,
        key.name,
        body,
        model=header.model,
        fingerprint=header.fingerprint,
        command=line_of(["import", path], {"--as": told}),
        force=force,
    )
    return Saved(name=str(key), path=str(saved), notes=(note,) if note else ())
