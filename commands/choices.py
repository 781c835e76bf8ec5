"""Words with a fixed list of choices, and the lists that several verbs share."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from sessions.circuits.methods import METHODS
from sessions.errors import UsageError
from sessions.settings import describe

if TYPE_CHECKING:
    from sessions.session import Session

from commands.names import saved_means
from commands.words import Word
from sessions.references import means_named


class Usually(Word):
    """Any text; completion offers the usual ones."""

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
            raise UsageError(f"unknown {self.name} '{text}'", hint)
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return list(self.meanings.items())


#: What makes a neuron of an atlas strong.
BY = OneOf(
    "ranking",
    {
        "magnitude": "by distance from 0, on either side",
        "positive": "by height above 0, as in atlases of other programs",
    },
)


class SomeOf(OneOf):
    """Some of a few words, with commas between them."""

    def __init__(self, name: str, meanings: dict[str, str]) -> None:
        super().__init__(name, meanings)
        self.shape = f"{self.shape},…"

    def read(self, text: str) -> tuple[str, ...]:  # type: ignore[override]  # several where the base reads one
        return tuple(dict.fromkeys(super(SomeOf, self).read(part.strip()) for part in text.split(",")))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        before = incomplete[: incomplete.rfind(",") + 1]
        return [(before + word, about) for word, about in self.meanings.items()]


class SettingName(OneOf):
    """The name of a setting."""

    def __init__(self) -> None:
        super().__init__("setting", describe())


class SettingValue(Word):
    """A new value of the setting named before it."""

    name = "value"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        known = {
            "sample": {"on": "draw tokens", "off": "take the likeliest"},
            "guard": {"auto": "where an intervention adds a constant", "on": "always", "off": "never"},
            "attention": ATTENTION.meanings,
        }
        choices = known.get(ctx.args[0] if ctx.args else "", {})
        return [CompletionItem(text, help=about) for text, about in choices.items() if text.startswith(incomplete)]


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


class MethodWord(OneOf):
    """The name of an attribution method, as the registry has them."""

    def __init__(self) -> None:
        self.name = "method"

    @property
    def shape(self) -> str:  # type: ignore[override]
        return "|".join(METHODS)

    @property
    def meanings(self) -> dict[str, str]:  # type: ignore[override]
        return {name: method.summary for name, method in METHODS.items()}


METHOD = MethodWord()


#: Whose gradient a round of training counts.
UNIT = OneOf(
    "unit",
    {
        "neuron": "the neurons of dense MLPs",
        "head": "attention heads, by their slice of the output projection's adapter",
        "expert": "the experts of a mixture, by gradient × activation",
    },
)


UNITS = OneOf(
    "units",
    {
        "neurons": "the neurons of the MLPs",
        "heads": "attention heads",
        "neurons,heads": "both, in one account",
    },
)


AGGREGATE = OneOf(
    "aggregate",
    {
        "magnitude": "ranked by mean Σ|attribution| over positions",
        "mean": "the mean over the prompts",
        "max": "the largest of all prompts, with its sign",
        "share": "ranked by the share of prompts that reach the threshold",
    },
)


ALIGN = OneOf(
    "alignment",
    {"none": "sum over positions", "end": "keep positions apart, counted from the end, as far as all prompts reach"},
)


class ReferenceWord(Usually):
    """What neurons are compared with: a usual word, means that are kept, or a prompt."""

    shape = "zero|mean|corrupt|means:NAME|TEXT"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [*super().completions(session, incomplete), *saved_means(session)]


REFERENCE = ReferenceWord(
    {
        "zero": "all that a neuron contributes",
        "mean": "what differs from its average",
        "corrupt": "what differs from the corrupt prompt of each pair",
    }
)


class HeldWord(OneOf):
    """What all other neurons are held at: one of a few words, or means that are kept."""

    def __init__(self, name: str, meanings: dict[str, str]) -> None:
        super().__init__(name, meanings)
        self.shape = f"{self.shape}|means:NAME"

    def read(self, text: str) -> str:
        return super().read(text) if means_named(text) is None else text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [*super().completions(session, incomplete), *saved_means(session)]


HELD = HeldWord(
    "reference",
    {
        "mean": "its mean at that position",
        "zero": "zero",
        "corrupt": "its value in the corrupt prompt of each pair, at that position",
    },
)


#: What ablated neurons are held at, in words.
HELD_AT = {"mean": "their means", "resample": "another state"}


ORDER = OneOf(
    "order",
    {
        "strongest": "by |attribution|, for the target or against it",
        "helping": "from most for the target to most against it",
    },
)


SITE = OneOf(
    "site",
    {
        "resid_post": "the residual stream after a layer",
        "mlp_out": "what a layer's MLP adds to it",
        "neurons": "the layer's neurons themselves",
    },
)


STATE = OneOf(
    "site",
    {
        "resid_pre": "the residual stream before a layer",
        "resid_post": "the residual stream after it",
        "mlp_out": "what the layer's MLP adds to it",
        "attn_out": "what its attention adds to it",
    },
)


PATCHED = OneOf(
    "site",
    {
        "resid_pre": "the residual stream before a layer",
        "mlp_out": "what the layer's MLP adds to it",
        "attn_out": "what its attention adds to it",
        "heads": "single heads, at all positions: a map of layers and heads",
        "neurons": "the neurons of --units, or of the circuit",
    },
)


TRACED = OneOf("site", {name: STATE.meanings[name] for name in ("resid_post", "mlp_out", "attn_out")})


DIRECTION = OneOf(
    "direction",
    {
        "denoise": "the corrupt prompt runs, clean activations restore the target",
        "noise": "the clean prompt runs, corrupt activations destroy it",
    },
)


THINKING = OneOf("switch", {"on": "the template lets the model think first", "off": "it answers at once"})
