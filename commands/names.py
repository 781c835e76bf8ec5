"""Words that name something: an artifact, a model, a file, prompts."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from commands.line import is_text
from sessions.artifacts import KINDS, Key, checked_name
from sessions.errors import ArtifactError, UsageError
from sessions.procedures.comparing import CURRENT
from sessions.references import means_named
from sessions.training.findings import series_of

if TYPE_CHECKING:
    from sessions.session import Session

from commands.words import Word

#: The models that come with the workbench, with what they are, for completion and help.
EMBEDDED = {
    "smollm2": "SmolLM2-135M-Instruct, 30 layers, chat",
    "gemma3-270m": "Gemma 3 270M, 18 layers, base model",
}


class Name(Word):
    """A name to save under."""

    name = "name"
    shape = "NAME"

    def read(self, text: str) -> str:
        try:
            return checked_name(text)
        except ArtifactError as error:
            raise UsageError(error.message, error.hint) from error


class SavedName(Name):
    """The name of a saved artifact of one kind; the kind may come first, `vector:calm`."""

    def __init__(self, kind: str = "circuit") -> None:
        self.kind = kind

    def read(self, text: str) -> str:
        return super().read(text.removeprefix(f"{self.kind}:"))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [] if session is None else [(name, f"saved {self.kind}") for name in session.store.names(self.kind)]


class AdapterName(Name):
    """An adapter that is kept."""

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        if session is None:
            return []
        folder = session.home / "adapters"
        names = sorted(file.name for file in folder.iterdir() if file.is_dir()) if folder.is_dir() else []
        return [(name, "kept adapter") for name in names if not name.startswith(".")]


class RoundName(Word):
    """A round of training: its name, or N for `round-N`."""

    name = "round"
    shape = "ROUND"

    def read(self, text: str) -> str:
        return f"round-{text}" if text.isdecimal() else Name().read(text)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        if session is None:
            return []
        try:
            folders = sorted((session.store.home / "rounds").iterdir())
        except OSError:
            return []
        return [(folder.name, "round") for folder in folders if (folder / "round.json").is_file()]


class SeriesName(RoundName):
    """A series of rounds, or one round by its name."""

    name = "rounds"
    shape = "NAME"

    def read(self, text: str) -> str:
        return Name().read(text)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        names = [name for name, _ in super().completions(session, incomplete)]
        stems = dict.fromkeys(series_of(name) for name in names)
        return [
            *((stem, "series of rounds") for stem in stems if stem not in names),
            *((name, "round") for name in names),
        ]


class ArtifactName(Word):
    """What was saved, of any kind: `vector:calm`, `circuit:texas` or, for a circuit, `texas`.

    With `current`, that word is the session's circuit. `kinds` are those that are meant.
    """

    name = "artifact"
    shape = "[KIND:]NAME"

    def __init__(self, current: bool = False, kinds: tuple[str, ...] = tuple(KINDS)) -> None:
        self.current = current
        self.kinds = kinds

    def read(self, text: str) -> Key:
        if self.current and text == CURRENT:
            return Key(CURRENT, "")
        kind, colon, name = text.rpartition(":")
        if colon and kind not in KINDS:
            near = get_close_matches(kind, KINDS, 1)
            hint = f"did you mean {near[0]}:{name}?" if near else f"one of: {', '.join(KINDS)}"
            raise UsageError(f"'{kind}' is not a kind of artifact", hint)
        if colon and kind not in self.kinds:
            raise UsageError(f"a {kind} cannot be named here", f"one of: {', '.join(self.kinds)}")
        return Key(kind or "circuit", Name().read(name))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        if session is None:
            return []
        choices = [(CURRENT, "the session's circuit")] if self.current and session.circuit is not None else []
        for kind in self.kinds:
            spelt = f"{kind}:" if incomplete.startswith(f"{kind}:") else ""
            names = [Key(kind, name) for name in session.store.names(kind)]
            choices += [(f"{spelt}{key.name}" if spelt else str(key), f"saved {kind}") for key in names]
        return choices


class ModelName(Word):
    """An embedded model, a folder, a GGUF file, or a model of the hub."""

    name = "model"

    def read(self, text: str) -> str:
        if not text:
            raise UsageError("the model's name is empty", "for example: model smollm2")
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [*EMBEDDED.items(), *_paths(session, incomplete, ".gguf")]


class FileName(Word):
    """A path. `suffix` is the ending of the files that completion offers."""

    name = "file"
    shape = "FILE"

    def __init__(self, suffix: str = "") -> None:
        self.suffix = suffix

    def read(self, text: str) -> Path:
        if not text or "\0" in text:
            wrong = "has a null character in it" if text else "is empty"
            raise UsageError(f"the file name {wrong}", f"for example: results{self.suffix or '.json'}")
        try:
            return Path(text).expanduser()
        except RuntimeError as error:
            raise UsageError(f"'{text}' names the home folder of an unknown user", "put ./ before it") from error

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return _paths(session, incomplete, self.suffix)


class OutputFile(FileName):
    """The path of a file, or a folder, that is written."""


class ScriptName(FileName):
    """A command file: a path, or the name of one that comes with the workbench."""

    def __init__(self) -> None:
        super().__init__(".wb")

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        from commands.library import files

        return [*super().completions(session, incomplete), *((file.name, file.heading) for file in files())]


def _paths(session: Session | None, incomplete: str, suffix: str) -> list[tuple[str, str]]:
    base = Path() if session is None else session.folder
    folder, _, _ = incomplete.rpartition("/")
    prefix = folder + "/" if "/" in incomplete else ""
    try:
        with os.scandir(base / Path(prefix).expanduser()) as entries:
            shown = sorted(
                (entry.name, os.path.isdir(entry.path))
                for entry in entries
                if entry.name[0] != "." and is_text(entry.name)
            )
    except (OSError, ValueError, RuntimeError):  # a folder that is not there, or no path at all
        return []
    folders = [(f"{prefix}{name}/", "folder") for name, is_folder in shown if is_folder]
    files = [(f"{prefix}{name}", "file") for name, is_folder in shown if not is_folder and name.endswith(suffix)]
    return folders + files


class TextsOrMeans(FileName):
    """A file of prompts to take means over, or means that are kept: `means:NAME`, as a key."""

    shape = "FILE|means:NAME"

    def read(self, text: str) -> Path | Key:  # type: ignore[override]  # one of two where the base reads one
        name = means_named(text)
        return super().read(text) if name is None else Key("means", name)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [*saved_means(session), *super().completions(session, incomplete)]


def saved_means(session: Session | None) -> list[tuple[str, str]]:
    """The means that are kept, for completion."""
    return [] if session is None else [(f"means:{name}", "saved means") for name in session.store.names("means")]


class Prompts(Word):
    """A file of prompts or, where there is no such file, one prompt."""

    name = "prompts"
    shape = "FILE|TEXT"

    def read(self, text: str) -> str:
        if not text.strip():
            raise UsageError("the prompt is empty", 'a file of prompts, or a prompt in quotes: "I feel wonderful"')
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return _paths(session, incomplete, "")
