"""What is saved, or the open model, as files for other programs: `export`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from commands.artifacts import FAMILY
from commands.choices import OneOf
from commands.names import ArtifactName, OutputFile
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
    "safetensors": "a vector, an atlas, means, a lens or an edit, everything in it",
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
    "lens": ("safetensors",),
}
#: Endings that say what is in a file, and the formats that such a file has.
_ENDINGS = {
    "json": ("json", "reference"),
    "csv": ("csv",),
    "safetensors": ("safetensors",),
    "gguf": ("gguf",),
}
#: Endings of pages, which `report` writes.
PAGES = ("html", "htm")


@verb(
    "export",
    family=FAMILY,
    synonyms=("csv", "save as", "download", "to file"),
    needs=("circuit",),
    example=("export texas.csv", "export texas.json --name texas", "export edited --model"),
)
class ExportFile(Request, frozen=True):
    """Write what is saved, or the model with its edits, to files for other programs.

    The file's ending says what it is: .json, .csv, .safetensors or .gguf. --name chooses what is written:

    A circuit is written as JSON, as a table (.csv) or, with --format reference, as the reference implementation's file,
    which is JSON too. Without --name it is the session's.
    A vector at resid_post becomes a control vector for llama.cpp: export calm.gguf --name vector:calm. There direction
    N is added to what leaves layer N. llama.cpp has none for layer 0, which is left out.
    A preset becomes a JSON inventory of known neurons: export known.json --name preset:calm.
    An atlas becomes the highest activation of each neuron, with its text, its position and its token: export
    maxima.json --name atlas:small.
    An edit, and means, are written as they were saved: export cut.safetensors --name edit:cut.

    export FOLDER --model writes config, weights and tokenizer of the open model. The weights are those of now, to the
    bit. The folder is opened again before it counts as written.

    A page of the session, .html, is written by report.
    """

    path: Annotated[
        Path, Arg(OutputFile(), "the file to write, whose ending chooses the format, or with --model a folder")
    ]
    format: Annotated[str | None, Opt(OneOf("format", FORMATS), "how to write it (default: by the file's ending)")] = (
        None
    )
    name: Annotated[
        Key | None, Opt(ArtifactName(), "a circuit's name, or vector:, preset:, atlas:, means:, lens: or edit:NAME")
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
            UsageError: what is written has no such format, or the ending says that the file is something else.
        """
        kind = "circuit" if self.name is None else self.name.kind
        known, one = _WRITTEN_AS[kind], f"{'an' if kind[0] in 'ae' else 'a'} {kind}"
        if os.path.isdir(self.path):
            raise UsageError(f"'{self.path}' is a folder", f"name a file in it: {self.path / kind}.{known[0]}")
        ending = self.path.suffix.lower().removeprefix(".")
        formats = f"{one} is written as {', '.join(map(_spelt, known))}"
        if ending in PAGES:
            raise UsageError(
                f"export writes no page: '{self.path}' ends in .{ending}",
                f"{formats}; for a page of the session: report {self.path}",
            )
        chosen = self.format or ending or known[0]
        if chosen not in known:
            vector = "name a vector: --name vector:NAME"
            if chosen in FORMATS:
                raise UsageError(f"{one} cannot be written as {chosen}", vector if kind == "circuit" else formats)
            raise UsageError(
                f"the ending .{chosen} names no format that {one} can be written in",
                f"{formats}; or say it: --format {known[0]}",
            )
        if chosen not in _ENDINGS.get(ending, known):
            raise UsageError(
                f"a file that ends in .{ending} is not {chosen}",
                f"for example: {self.path.with_suffix(_spelt(chosen).split()[0])}",
            )
        return chosen


def _spelt(format: str) -> str:
    """A format by the ending of its files."""
    return ".json with --format reference" if format == "reference" else f".{format}"
