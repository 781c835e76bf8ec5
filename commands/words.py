"""The kinds of words in a line, one `ParamType` each: how it is read, what is said when it is wrong,
and how it is completed. Everything that reads or completes a line uses these.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from sessions.circuits.selection import terms
from sessions.errors import ArtifactError, UsageError
from sessions.settings import describe
from sessions.store import checked_name

if TYPE_CHECKING:
    from sessions.session import Session

#: The models that come with the workbench, with what they are, for completion and help.
EMBEDDED = {
    "smollm2": "SmolLM2-135M-Instruct, 30 layers, chat",
    "gemma3-270m": "Gemma 3 270M, 18 layers, base model",
}


class Word(click.ParamType):
    """Base of the kinds of words: text that is taken as it is, and has nothing to complete."""

    name = "text"
    shape = "TEXT"

    def read(self, text: str) -> Any:
        """What the word means. Raises `UsageError`."""
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        """(text, description) of what the word could become."""
        return []

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.read(value) if isinstance(value, str) else value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = self.completions(ctx.obj, incomplete)
        return [CompletionItem(text, help=about) for text, about in found if text.startswith(incomplete)]


class Token(Word):
    """A token's text, leading space and all."""

    name = "token"
    shape = "TOKEN"

    def read(self, text: str) -> str:
        if text == "":
            raise UsageError("the token is empty", 'for example: " Austin", with its leading space')
        return text


class Number(Word):
    """A multiplier: 0 ablates, 1 leaves, 2 doubles; negative ones turn a neuron round."""

    name = "multiplier"

    def read(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"'{text}' is not a multiplier", "a number such as 0, 0.5 or 2") from None
        if not abs(value) <= 1e6:
            raise UsageError(f"{text} is too large for a multiplier", "stay below a million")
        return value

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("0", "ablate"), ("0.5", "halve"), ("1", "leave"), ("2", "double")]


class Whole(Word):
    """A whole number, `least` or more."""

    name = "whole number"
    shape = "N"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def read(self, text: str) -> int:
        if not text.removeprefix("-").isdecimal() or int(text) < self.least:
            raise UsageError(f"'{text}' is not a whole number of at least {self.least}", "for example: 10")
        return int(text)


class Real(Word):
    """A number above 0, up to `most`."""

    name = "number"
    shape = "X"

    def __init__(self, most: float = float("inf")) -> None:
        self.most = most

    def read(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= self.most:
            limit = "" if self.most == float("inf") else f" and at most {self.most:g}"
            raise UsageError(f"'{text}' is not a number above 0{limit}", "for example: 0.5")
        return value


class SelectionWord(Word):
    """A selection of neurons; what it means is only known when the command runs."""

    name = "selection"

    def read(self, text: str) -> str:
        terms(text)
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        # Only the last term of a selection is completed; what stands before it is carried along.
        cut = max(incomplete.rfind(c) for c in ",+&") + 1
        before = incomplete[:cut]
        found = [("all", "the whole circuit"), ("top10", "its strongest ten"), ("top50", "its strongest fifty")]
        if session is not None:
            found += [(name, "saved circuit") for name in session.store.names("circuit")]
            if session.circuit is not None:
                found += [(str(neuron), _about(neuron.attribution)) for neuron in session.circuit.top(20)]
        return [(before + text, about) for text, about in found]


def _about(attribution: float | None) -> str:
    return "neuron" if attribution is None else f"neuron, {attribution:+.3f}"


class Layers(Word):
    """A range of layers, `9-26` or `12`, read as (first, last)."""

    name = "layers"
    shape = "LAYERS"

    def read(self, text: str) -> tuple[int, int]:
        first, dash, last = text.removeprefix("L").partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise UsageError(f"'{text}' is not a range of layers", "for example: 9-26, or 12")
        return int(first), int(last or first)


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
    """A name something was saved under."""

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [] if session is None else [(name, "saved circuit") for name in session.store.names("circuit")]


class ModelName(Word):
    """An embedded model, a folder, a GGUF file, or a model of the hub."""

    name = "model"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [*EMBEDDED.items(), *_paths(incomplete, ".gguf")]


class FileName(Word):
    """A path. `suffix` is the ending of the files that completion offers."""

    name = "file"

    def __init__(self, suffix: str = "") -> None:
        self.suffix = suffix

    def read(self, text: str) -> Path:
        if not text or "\0" in text:
            raise UsageError("the file name is empty", f"for example: results{self.suffix or '.json'}")
        return Path(text).expanduser()

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return _paths(incomplete, self.suffix)


def _paths(incomplete: str, suffix: str) -> list[tuple[str, str]]:
    folder, _, _ = incomplete.rpartition("/")
    prefix = folder + "/" if "/" in incomplete else ""
    try:
        entries = sorted(Path(prefix or ".").expanduser().iterdir())
    except OSError:
        return []
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    folders = [(f"{prefix}{entry.name}/", "folder") for entry in shown if entry.is_dir()]
    files = [(f"{prefix}{entry.name}", "file") for entry in shown if entry.is_file() and entry.name.endswith(suffix)]
    return folders + files


class OneOf(Word):
    """One of a few words, each with what it means."""

    def __init__(self, name: str, meanings: dict[str, str]) -> None:
        self.name = name
        self.shape = "|".join(meanings)
        self.meanings = meanings

    def read(self, text: str) -> str:
        if text not in self.meanings:
            near = get_close_matches(text, self.meanings, 1)
            hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(self.meanings)}"
            raise UsageError(f"'{text}' is no {self.name}", hint)
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return list(self.meanings.items())


class SettingName(OneOf):
    """The name of a setting."""

    def __init__(self) -> None:
        super().__init__("setting", describe())


class VerbName(Word):
    """The name of a verb."""

    name = "verb"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        from commands.grammar import VERBS  # which is made of the verbs that use these words

        return [(name, verb.summary) for name, verb in VERBS.items()]


SCOPE = OneOf(
    "scope",
    {"all": "at every position, generated ones too", "circuit": "only at the positions the circuit found them at"},
)
ATTENTION = OneOf(
    "attention rule",
    {
        "frozen": "the attention pattern is held constant; relevance is conserved",
        "gradient": "queries and keys keep their gradient",
    },
)
THINKING = OneOf("switch", {"on": "the template lets the model think first", "off": "it answers at once"})
