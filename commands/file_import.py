"""What a line of `import` says: the file, what becomes of it, and the options that only some files have a use for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from msgspec import structs

from commands.names import ArtifactName, FileName
from commands.request import Arg, Flag, Opt, Options, Request
from commands.words import Gain, TextWord, Whole
from sessions.artifacts import Key
from sessions.errors import UsageError
from sessions.results import Saved
from sessions.session import Session

#: The kinds of artifacts that a file can become under `--as`.
KINDS = ("circuit", "vector", "preset", "edit", "means", "lens")


class OfPickles(Options, frozen=True):
    """What is said of files that torch.save wrote."""

    group = "For files that torch.save wrote"

    alpha: Annotated[
        float | None,
        Opt(Gain(), "of a neuron's signature: how hard it pushes; of a LoRA: its alpha (default: the file's)"),
    ] = None
    beta: Annotated[
        float | None, Opt(Gain(), "the same of the neuron that cuts the loop; 0 leaves it out (default: the file's)")
    ] = None
    key: Annotated[str | None, Opt(TextWord(), "of a file with several means: the key to read")] = None


class FileImport(Request, frozen=True):
    """A file that is to be imported."""

    path: Annotated[Path, Arg(FileName(".json"), "a file exported here, or of another project")]
    name: Annotated[
        Key | None,
        Opt(ArtifactName(kinds=KINDS), "save it under this name at once; preset:NAME for an inventory", flag="--as"),
    ] = None
    top: Annotated[
        int | None,
        Opt(Whole(), "of differences of activations, or maxima: only this many, the strongest (default: all)"),
    ] = None
    layer: Annotated[int | None, Opt(Whole(0), "the layer of an atlas's maxima, where their file does not name it")] = (
        None
    )
    of_pickles: OfPickles = OfPickles()
    force: Annotated[bool, Flag("import it even if it was made on another model; replace what has that name")] = False

    @property
    def stem(self) -> str:
        """The file's name as far as it may stand in the name of an artifact."""
        return nameable(self.path.stem) or "import"

    def named(self, kind: str, free: Callable[[str], str], stem: str = "") -> str:
        """The name that is given or, without one, a free one that begins with the stem.

        Raises:
            UsageError: the name that is given is of another kind.
        """
        if self.name is None:
            return free(stem or self.stem)
        if self.name.kind not in (kind, "circuit"):
            meant = Key(kind if kind in KINDS else "circuit", self.name.name)
            raise UsageError(f"the file holds a {kind}, not a {self.name.kind}", f"--as {meant}")
        return self.name.name

    def line_as(self, key: Key) -> str:
        """The line that imports the file under this name."""
        return structs.replace(self, name=key, force=False).line()

    def kept(self, session: Session, key: Key, body: Any, *notes: str) -> Saved:
        """Save what the file holds as something of the open model."""
        path = session.keep(key, body, self.line_as(key), force=self.force)
        return Saved(name=str(key), path=str(path), notes=notes)


def nameable(text: str) -> str:
    """What of a text may stand in a name."""
    return "".join(sign for sign in text if sign.isascii() and (sign.isalnum() or sign in "._-")).strip("-._")
