"""The kinds of words in a line, one `ParamType` each: how it is read, what is said when it is wrong,
and how it is completed. Everything that reads or completes a line uses these.
"""

from __future__ import annotations

import math
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from commands.line import is_text
from sessions.circuits.selection import terms
from sessions.errors import ArtifactError, UsageError
from sessions.settings import describe
from sessions.store import KINDS, Key, checked_name

if TYPE_CHECKING:
    from sessions.session import Session

#: The models that come with the workbench, with what they are, for completion and help.
EMBEDDED = {
    "smollm2": "SmolLM2-135M-Instruct, 30 layers, chat",
    "gemma3-270m": "Gemma 3 270M, 18 layers, base model",
}


class Placed(str):
    """The text of a word on its way through click, with the column it stands in, for its error."""

    column: int

    def __new__(cls, text: str, column: int) -> Placed:
        placed = super().__new__(cls, text)
        placed.column = column
        return placed


class Word(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
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
        if not isinstance(value, Placed):
            return self.read(value) if isinstance(value, str) else value
        try:
            return self.read(str(value))
        except UsageError as error:
            raise UsageError(error.message, error.hint, value.column + (error.column or 0)) from error

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = self.completions(ctx.obj, incomplete)
        return [CompletionItem(text, help=about) for text, about in found if text.startswith(incomplete)]


#: The word for the session's own circuit, where saved things are named.
CURRENT = "current"

#: How `expect` compares: texts, or numbers.
COMPARISONS = {
    "contains": "a text",
    "lacks": "a text",
    "matches": "a regular expression",
    "==": "a text or a number",
    "!=": "a text or a number",
    "<": "a number",
    "<=": "a number",
    ">": "a number",
    ">=": "a number",
}

#: More digits than any count, layer or seed has; Python refuses to read thousands of them.
_DIGITS = 18


def _is_whole(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS


class Text(Word):
    """A text that is not empty."""

    def read(self, text: str) -> str:
        if text == "":
            raise UsageError("the text is empty", 'put something between the quotes: "\\n"')
        return text


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
            value = math.nan
        if math.isnan(value):
            raise UsageError(f"'{text}' is not a multiplier", "a number such as 0, 0.5 or 2")
        if abs(value) > 1e6:
            raise UsageError(f"{text} is too large for a multiplier", "stay below a million")
        return value

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("0", "ablate"), ("0.5", "halve"), ("1", "leave"), ("2", "double")]


class Whole(Word):
    """A whole number, `least` or more, up to `most`."""

    name = "whole number"
    shape = "N"

    def __init__(self, least: int = 1, most: int | None = None) -> None:
        self.least = least
        self.most = most

    def read(self, text: str) -> int:
        if not _is_whole(text) or int(text) < self.least or (self.most is not None and int(text) > self.most):
            limit = "" if self.most is None else f" and at most {self.most}"
            raise UsageError(f"'{text}' is not a whole number of at least {self.least}{limit}", "for example: 10")
        return int(text)


class Sizes(Word):
    """Whole numbers of at least 1 with commas between them, in rising order, each once."""

    name = "sizes"
    shape = "N,N,…"

    def read(self, text: str) -> tuple[int, ...]:
        parts = text.split(",")
        wrong = next((part for part in parts if not _is_whole(part) or int(part) < 1), None)
        if wrong is not None:
            raise UsageError(f"'{wrong}' is not a whole number of at least 1", "for example: 10,50,200")
        return tuple(sorted({int(part) for part in parts}))


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
        if not 0 < value <= self.most or math.isinf(value):
            limit = "" if self.most == float("inf") else f" and at most {self.most:g}"
            raise UsageError(f"'{text}' is not a number above 0{limit}", "for example: 0.5")
        return value


class SelectionWord(Word):
    """A selection of neurons; what it means is only known when the command runs.

    Its words may stand apart, `all - L24/*`: the grammar makes one of them.
    """

    name = "selection"

    def read(self, text: str) -> str:
        terms(text)
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        # Only the last term of a selection is completed; what stands before it is carried along.
        cut = max(incomplete.rfind(c) for c in ",+&") + 1
        before = incomplete[:cut]
        if before and not _is_selection(f"{before}all"):
            return []
        found = [("all", "the whole circuit"), ("top10", "its strongest ten"), ("top50", "its strongest fifty")]
        if session is not None:
            found += [(name, "saved circuit") for name in session.store.names("circuit")]
            if session.circuit is not None:
                found += [(str(neuron), _about(neuron.attribution)) for neuron in session.circuit.top(20)]
        return [(before + text, about) for text, about in found]


def _is_selection(text: str) -> bool:
    try:
        terms(text)
    except UsageError:
        return False
    return True


def _about(attribution: float | None) -> str:
    return "neuron" if attribution is None else f"neuron, {attribution:+.3f}"


class Layers(Word):
    """A range of layers, `9-26` or `12`, read as (first, last)."""

    name = "layers"
    shape = "LAYERS"

    def read(self, text: str) -> tuple[int, int]:
        first, dash, last = text.removeprefix("L").partition("-")
        if not _is_whole(first) or (dash and not _is_whole(last)) or (dash and int(last) < int(first)):
            raise UsageError(f"'{text}' is not a range of layers", "for example: 9-26, or 12")
        return int(first), int(last or first)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        if session is None or session.model is None:
            return []
        count = session.model.info.n_layers
        return [(f"0-{count - 1}", "all of them"), (f"{count // 3}-{2 * count // 3}", "those in the middle")]


class Positions(Word):
    """A position or a range of them, `41`, `3-9`, `-1` (the last) or `-4--1`, read as (first, last)."""

    name = "positions"
    shape = "POSITIONS"

    def read(self, text: str) -> tuple[int, int]:
        match = re.fullmatch(r"(-?[0-9]{1,9})(?:-(-?[0-9]{1,9}))?", text.removeprefix("@"))
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or (first < 0) != (last < 0):
            raise UsageError(f"'{text}' is not a range of positions", "for example: 3-9, 12, or -1 for the last")
        return first, last

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("-1", "the last")]


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
    """A name something of one kind was saved under; the kind may stand before it, `vector:calm`."""

    def __init__(self, kind: str = "circuit") -> None:
        self.kind = kind

    def read(self, text: str) -> str:
        return super().read(text.removeprefix(f"{self.kind}:"))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [] if session is None else [(name, f"saved {self.kind}") for name in session.store.names(self.kind)]


class ArtifactName(Word):
    """What was saved, of any kind: `vector:calm`, `circuit:texas` or, for a circuit, `texas`.

    With `current`, that word is the session's circuit.
    """

    name = "artifact"
    shape = "[KIND:]NAME"

    def __init__(self, current: bool = False) -> None:
        self.current = current

    def read(self, text: str) -> Key:
        if self.current and text == CURRENT:
            return Key(CURRENT, "")
        kind, colon, name = text.rpartition(":")
        if colon and kind not in KINDS:
            near = get_close_matches(kind, KINDS, 1)
            hint = f"did you mean {near[0]}:{name}?" if near else f"one of: {', '.join(KINDS)}"
            raise UsageError(f"'{kind}' is no kind of artifact", hint)
        return Key(kind or "circuit", Name().read(name))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        if session is None:
            return []
        found = [(CURRENT, "the session's circuit")] if self.current and session.circuit is not None else []
        for kind in KINDS:
            spelt = f"{kind}:" if incomplete.startswith(f"{kind}:") else ""
            names = [Key(kind, name) for name in session.store.names(kind)]
            found += [(f"{spelt}{key.name}" if spelt else str(key), f"saved {kind}") for key in names]
        return found


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
            raise UsageError(
                f"'{text}' begins with the folder of a user who is not there", "put ./ before it"
            ) from error

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return _paths(session, incomplete, self.suffix)


def _paths(session: Session | None, incomplete: str, suffix: str) -> list[tuple[str, str]]:
    base = Path() if session is None else session.folder
    folder, _, _ = incomplete.rpartition("/")
    prefix = folder + "/" if "/" in incomplete else ""
    try:
        with os.scandir(base / Path(prefix).expanduser()) as entries:
            shown = sorted((entry.name, os.path.isdir(entry.path)) for entry in entries if _is_shown(entry.name))
    except (OSError, ValueError, RuntimeError):  # a folder that is not there, or no path at all
        return []
    folders = [(f"{prefix}{name}/", "folder") for name, is_folder in shown if is_folder]
    files = [(f"{prefix}{name}", "file") for name, is_folder in shown if not is_folder and name.endswith(suffix)]
    return folders + files


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and is_text(name)


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


class Usually(Word):
    """Any text; some are usual."""

    name = "usual text"

    def __init__(self, meanings: dict[str, str]) -> None:
        self.meanings = meanings

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return list(self.meanings.items())


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


class SettingValue(Word):
    """A new value of the setting named before it."""

    name = "value"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        known = {"sample": {"on": "draw tokens", "off": "take the likeliest"}, "attention": ATTENTION.meanings}
        found = known.get(ctx.args[0] if ctx.args else "", {})
        return [CompletionItem(text, help=about) for text, about in found.items() if text.startswith(incomplete)]


class SweptWord(Word):
    """A word of a sweep: a part of the selection, or a multiplier."""

    name = "selection or multiplier"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return SelectionWord().completions(session, incomplete) + Number().completions(session, incomplete)


class Statement(Word):
    """A word of a statement after its subject: the comparison can be completed, what is compared cannot."""

    name = "statement"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        words_before = 2 if ctx.args[:1] == ["prob"] else 1  # the subject, and the token it is about
        if len(ctx.args) != words_before:
            return []
        return [CompletionItem(text, help=about) for text, about in COMPARISONS.items() if text.startswith(incomplete)]


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
METHOD = OneOf(
    "method",
    {
        "relp": "relevance in the network made linear around the prompt",
        "atp": "activation times gradient",
        "ig": "activation times the mean gradient on the way from zero, or the reference, to the prompt",
        "exact": "no estimate: every neuron of --layers is switched off alone",
    },
)
AGGREGATE = OneOf(
    "aggregate",
    {
        "mean": "the mean over the prompts",
        "max": "the largest of all prompts, with its sign",
        "share": "ranked by the share of prompts in which it reaches the threshold",
    },
)
ALIGN = OneOf(
    "alignment",
    {"none": "positions summed", "end": "positions apart, counted from the end, as far back as all prompts reach"},
)
REFERENCE = Usually({"zero": "what a neuron contributes at all", "mean": "more than it contributes on average"})
HELD = OneOf("reference", {"mean": "its mean at that position", "zero": "zero"})
SITE = OneOf(
    "site",
    {
        "resid_post": "the residual stream behind a layer",
        "mlp_out": "what a layer's MLP adds to it",
        "neurons": "the layer's neurons themselves",
    },
)
THINKING = OneOf("switch", {"on": "the template lets the model think first", "off": "it answers at once"})
