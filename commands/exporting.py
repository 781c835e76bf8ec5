"""What is saved, or the open model, as files for other programs: `export`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from commands.artifacts import FAMILY
from commands.choices import OneOf
from commands.names import ArtifactName, FileName
from commands.request import Arg, Excludes, Flag, Opt, Request
from commands.verb import verb
from sessions.artifacts import Key
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.files.disk import write_file
from sessions.procedures.exporting import file_content, model_exported
from sessions.results import Exported, ModelExported
from sessions.session import Session

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


@verb(
    "export",
    family=FAMILY,
    synonyms=("csv", "save as", "download", "to file"),
    needs=("circuit",),
    example=("export texas.csv", "export texas.json --name texas", "export edited --model"),
)
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
            return (yield from model_exported(session, self.path, self.force))
        chosen = self._format()
        content, notes = file_content(session, self.name, chosen)
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
            f"one of: {', '.join(f'.{ending}' for ending in known)}; or say it: --format {known[0]}",
        )
