"""The kinds of words in a line, one `ParamType` each: how it is read, what is said when it is wrong,
and how it is completed. Everything that reads or completes a line uses these.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from sessions.circuits.selection import terms
from sessions.errors import UsageError
from sessions.lines import QuotedText
from sessions.model.target import UnquotedToken
from sessions.model.units import Unit
from sessions.settings import MOST, MOST_ROWS, MOST_TOKENS

if TYPE_CHECKING:
    from sessions.session import Session


class PlacedText(str):
    """The text of a word on its way through click, with the column it stands in, for its error; and whether it was
    quoted."""

    column: int
    quoted: bool

    def __new__(cls, text: str, column: int, quoted: bool = False) -> PlacedText:
        placed = super().__new__(cls, text)
        placed.column, placed.quoted = column, quoted
        return placed


class Word(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """Base of the kinds of words: text that is taken as it is, and has nothing to complete."""

    name = "text"
    shape = "TEXT"

    def read(self, text: str) -> Any:
        """What the word means. Raises `UsageError`."""
        return text

    def said(self, value: Any) -> str:
        """The text that means a value, so that `read(said(value)) == value`."""
        if isinstance(value, tuple):
            return ",".join(map(self.said, value))
        return shortest(value) if isinstance(value, float) else str(value)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        """(text, description) of what the word could become."""
        return []

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, PlacedText):
            return self.read(value) if isinstance(value, str) else value
        try:
            return self.read(str(value))
        except UsageError as error:
            raise UsageError(error.message, error.hint, value.column + (error.column or 0)) from error

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        completions = self.completions(ctx.obj, incomplete)
        return [CompletionItem(text, help=about) for text, about in completions if text.startswith(incomplete)]


def shortest(value: float) -> str:
    """The shortest text that is exactly this number: `0.5`, `2`, `1e+06`."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


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
    "same-as": "another subject",
    "differs-from": "another subject",
}


#: More digits than any count, layer or seed has; Python refuses to read thousands of them.
_DIGITS = 18
#: The layer of a unit that is being typed.
_LAYER = re.compile(r"L([0-9]{1,9})/", re.IGNORECASE)


def is_whole(text: str) -> bool:
    """Whether a text is a whole number of at least 0 that is not absurdly long."""
    return text.isdecimal() and len(text) <= _DIGITS


class TextWord(Word):
    """A text that is not empty."""

    def read(self, text: str) -> str:
        if text == "":
            raise UsageError("the text is empty", 'put something between the quotes: "\\n"')
        return text


class Prose(Word):
    """A word of a text that is taken as it comes, up to the end of the line or an option."""


class TokenWord(Word):
    """A token's text, leading space and all. In quotes it is exact; without them a space may be meant before it."""

    name = "token"
    shape = "TOKEN"

    def read(self, text: str) -> str:
        if text == "":
            raise UsageError("the token is empty", 'for example: " Austin", with its leading space')
        return text

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        return UnquotedToken(text) if isinstance(value, PlacedText) and not value.quoted else text

    def said(self, value: Any) -> str:
        return str(value) if isinstance(value, UnquotedToken) or value[:1].isspace() else QuotedText(value)


def number_in(text: str) -> float:
    """The number that a text is; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


class NumberWord(Word):
    """A multiplier: 0 ablates, 1 leaves, 2 doubles; negative ones flip its sign."""

    name = "multiplier"

    def read(self, text: str) -> float:
        value = number_in(text)
        if math.isnan(value):
            raise UsageError(f"'{text}' is not a multiplier", "a number such as 0, 0.5 or 2")
        if abs(value) > 1e6:
            raise UsageError(f"{text} is too large for a multiplier", "stay below a million")
        return value

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("0", "ablate"), ("0.5", "halve"), ("1", "leave"), ("2", "double")]


#: What a seed may be.
SEEDS = 10**_DIGITS - 1


class Whole(Word):
    """A whole number, `least` or more, up to `most`."""

    name = "whole number"
    shape = "N"

    def __init__(self, least: int = 1, most: int = MOST) -> None:
        self.least = least
        self.most = most

    def read(self, text: str) -> int:
        if not is_whole(text) or not self.least <= int(text) <= self.most:
            limit = f"at least {self.least} and at most {self.most:,}"
            raise UsageError(f"'{text[:80]}' is not a whole number of {limit}", "for example: 10")
        return int(text)


class Length(Whole):
    """How many tokens are generated at most."""

    def __init__(self) -> None:
        super().__init__(most=MOST_TOKENS)


class RowsWord(Whole):
    """How many rows are shown at most."""

    def __init__(self) -> None:
        super().__init__(most=MOST_ROWS)


class Sizes(Word):
    """Whole numbers of at least 1 with commas between them, in rising order, each once."""

    name = "sizes"
    shape = "N,N,…"

    def read(self, text: str) -> tuple[int, ...]:
        parts = text.split(",")
        wrong = next((part for part in parts if not is_whole(part) or not 1 <= int(part) <= MOST), None)
        if wrong is not None:
            limit = f"at least 1 and at most {MOST:,}"
            raise UsageError(f"'{wrong[:80]}' is not a whole number of {limit}", "for example: 10,50,200")
        return tuple(sorted({int(part) for part in parts}))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("10,50,200", "a few"), ("10,25,50,100,200,400", "a curve")]


class Real(Word):
    """A number above 0, up to `most`."""

    name = "number"
    shape = "X"

    def __init__(self, most: float = float("inf")) -> None:
        self.most = most

    def read(self, text: str) -> float:
        value = number_in(text)
        if not 0 < value <= self.most or math.isinf(value):
            limit = "" if self.most == float("inf") else f" and at most {self.most:g}"
            raise UsageError(f"'{text}' is not a number above 0{limit}", "for example: 0.5")
        return value


#: Which neurons of an atlas may be selected.
_ENDS = {"top": "furthest from 0", "positive": "highest above 0", "quiet": "closest to 0"}


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
        cut = max(incomplete.rfind(c) for c in ",+&(") + 1
        before = incomplete[:cut]
        if before and not _is_selection(f"{before}all{')' * (before.count('(') - before.count(')'))}"):
            return []
        choices = [
            ("all", "the whole circuit"),
            ("suppressed", "what is held at zero"),
            ("top10", "its strongest ten"),
            ("top50", "its strongest fifty"),
        ]
        if session is not None:
            choices += [(name, "saved circuit") for name in session.store.names("circuit")]
            choices += [(f"preset:{name}", "its neurons") for name in session.store.names("preset")]
            for name in session.store.names("atlas"):
                choices += [(f"atlas:{name}:{end}100", about) for end, about in _ENDS.items()]
            if session.circuit is not None:
                choices += [
                    (str(unit), unit.kind if unit.attribution is None else f"{unit.kind}, {unit.attribution:+.3f}")
                    for unit in session.circuit.top(20)
                ]
            choices += _of_layer(session, incomplete[cut:].strip())
        return [(before + text, about) for text, about in choices]


def _of_layer(session: Session, begun: str) -> list[tuple[str, str]]:
    """The heads and experts of the layer that a term names, `L5/`; all its neurons would be too many."""
    match = _LAYER.match(begun)
    if match is None or session.model is None:
        return []
    anatomy, layer = session.model.anatomy, int(match[1])
    units = [
        Unit(layer, index, kind=kind)
        for kind in ("head", "expert")
        for index in range(anatomy.counts(kind)[layer] if layer < anatomy.n_layers else 0)
    ]
    return [(f"L{layer}/*", "all its neurons")] * (layer < anatomy.n_layers) + [
        (str(unit), unit.kind) for unit in units
    ]


class ObservedWord(Word):
    """Neurons as the value of an option, one word of them."""

    name = "neurons"
    shape = "NEURON,…"

    def read(self, text: str) -> str:
        terms(text)
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return SelectionWord().completions(session, incomplete)


class ListWord(Word):
    """Words with commas between them: `x,y`."""

    name = "list"
    shape = "WORD,…"

    def read(self, text: str) -> tuple[str, ...]:
        parts = tuple(part.strip() for part in text.split(","))
        if not all(parts):
            raise UsageError(f"'{text}' has an empty word in it", "words with commas between them: x,y")
        return parts

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("-1", "the last position")]


def _is_selection(text: str) -> bool:
    try:
        terms(text)
    except UsageError:
        return False
    return True


class Gain(Word):
    """A number in the units of an activation."""

    name = "gain"
    shape = "GAIN"

    def read(self, text: str) -> float:
        value = number_in(text)
        if not math.isfinite(value):
            raise UsageError(f"'{text}' is not a gain", "a number such as 5 or -0.5")
        return value


class SweptWord(Word):
    """A word of a sweep: a part of the selection, or a multiplier."""

    name = "selection or multiplier"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return SelectionWord().completions(session, incomplete) + NumberWord().completions(session, incomplete)


class Statement(Word):
    """A word of a statement after its subject: the comparison can be completed, what is compared cannot."""

    name = "statement"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        words_before = 2 if ctx.args[:1] == ["prob"] else 1  # the subject, and the token it is about
        if len(ctx.args) != words_before:
            return []
        return [CompletionItem(text, help=about) for text, about in COMPARISONS.items() if text.startswith(incomplete)]
