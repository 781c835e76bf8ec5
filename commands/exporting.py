"""What is saved, or the open model, as files for other programs: `export`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from commands.artifacts import FAMILY
from commands.choices import OneOf
from commands.names import ArtifactName, FileName
from commands.request import Arg, Excludes, Flag, Opt, Request
from commands.verb import verb
from sessions.circuits import files
from sessions.earlier import inventories
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.files.disk import read_file, write_file
from sessions.interventions.presets import Preset, sound
from sessions.results import Exported, ModelExported
from sessions.saved import SavedArtifacts
from sessions.session import Session
from sessions.store import Key

FORMATS = {
    "json": "a circuit, everything in it, a preset as an inventory of known neurons, or an atlas's strongest maxima",
    "reference": "a circuit as the reference implementation's file",
    "csv": "a circuit's neuron table",
    "safetensors": "a vector, an atlas, means or an edit, everything in it",
    "gguf": "a vector as llama.cpp's control vector",
}
#: What each kind can be written as, its usual format first.
_WRITTEN_AS = {
    "circuit": ("json", "reference", "csv"),
    "vector": ("safetensors", "gguf"),
    "preset": ("json",),
    "atlas": ("json", "safetensors"),
    "edit": ("safetensors",),
    "means": ("safetensors",),
}
#: How the kinds that are files of tensors are read.
_READ: dict[str, Any] = {
    "vector": SavedArtifacts.read_vector,
    "atlas": SavedArtifacts.read_atlas,
    "edit": SavedArtifacts.read_edit,
    "means": SavedArtifacts.read_means,
}
#: A text for the logits that have to be the same, where there is no prompt: the first ids of any vocabulary.
_IDS = (1, 2, 3)


@verb("export", family=FAMILY, example=("export texas.csv", "export texas.json --name texas", "export edited --model"))
class ExportFile(Request, frozen=True):
    """Write what is saved, or the model with its edits, to files for other programs.

    The file's ending chooses the format, and --name what is written:

    A circuit is written as JSON, as a table (.csv) or as the reference implementation's file. Without --name it is the
    session's.
    A vector at resid_post becomes a control vector for llama.cpp: export calm.gguf --name vector:calm. There direction
    N is added to what leaves layer N. llama.cpp has none for layer 0, which is left out.
    A preset becomes a JSON inventory of known neurons: export known.json --name preset:calm.
    An atlas becomes the highest activation of each neuron, with its text, its position and its token: export
    maxima.json --name atlas:small.
    An edit, and means, are written as they were saved: export cut.safetensors --name edit:cut.

    export FOLDER --model writes config, weights and tokenizer of the open model. The weights are those of now, to the
    bit. The folder is opened again before it counts as written.
    """

    path: Annotated[
        Path, Arg(FileName(), "the file to write, whose ending chooses the format, or with --model a folder")
    ]
    format: Annotated[str | None, Opt(OneOf("format", FORMATS), "how to write it (default: by the file's ending)")] = (
        None
    )
    name: Annotated[
        Key | None, Opt(ArtifactName(), "a circuit's name, or vector:, preset:, atlas:, means: or edit:NAME")
    ] = None
    model: Annotated[bool, Flag("write the open model with its edits into a folder, as transformers does")] = False
    force: Annotated[bool, Flag("replace the file if it exists; with --model, the model in the folder")] = False

    rules = (
        Excludes(
            "model",
            ("name", "format"),
            "--model writes the open model, in one format",
            "leave out --name and --format",
        ),
    )

    def run(self, session: Session) -> Steps[Exported | ModelExported]:
        if self.model:
            return (yield from _model_exported(session, self.path, self.force))
        chosen = self._format()
        content, notes = _content(session, self.name, chosen)
        written = write_file(self.path.absolute(), content, force=self.force, what=f"'{self.path}'")
        return Exported(path=str(written), format=chosen, notes=notes)

    def _format(self) -> str:
        """The format that is named, or that the file's ending means.

        Raises:
            UsageError: what is written has no such format.
        """
        kind = "circuit" if self.name is None else self.name.kind
        known, one = _WRITTEN_AS[kind], f"{'an' if kind[0] in 'ae' else 'a'} {kind}"
        if os.path.isdir(self.path):
            raise UsageError(f"'{self.path}' is a folder", f"name a file in it: {self.path / kind}.{known[0]}")
        chosen = self.format or self.path.suffix.lower().removeprefix(".") or known[0]
        if chosen in known:
            return chosen
        if chosen in FORMATS:
            vector = "name a vector: --name vector:NAME"
            raise UsageError(
                f"{one} cannot be written as {chosen}", vector if kind == "circuit" else f"one of: {', '.join(known)}"
            )
        raise UsageError(
            f"the ending .{chosen} names no format that {one} can be written in",
            f"one of: {', '.join(f'.{each}' for each in known)}; or say it: --format {known[0]}",
        )


def _content(session: Session, key: Key | None, format: str) -> tuple[bytes, tuple[str, ...]]:
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
    found, _ = _READ[key.kind](session.saved, key.name, force=True)
    if format == "gguf":
        from sessions.directions.gguf import write_gguf

        left_out = ("llama.cpp has no direction at layer 0: it is left out",) if 0 in found.layers else ()
        return write_gguf(found), left_out
    if format == "json":
        from sessions.atlas.profiles import reference

        return reference(found), ()
    return read_file(session.store.path(key.kind, key.name)), ()  # its own file, which has just been found in order


def _model_exported(session: Session, path: Path, force: bool) -> Steps[ModelExported]:
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
        bytes=sum(each.stat().st_size for each in place.iterdir()),
        edits=tuple(edit.name for edit in ledger.active),
        reopened=True,
        notes=tuple(notes),
    )
