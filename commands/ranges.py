"""Words that are ranges: of layers and of positions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from commands.words import Word, is_whole
from sessions.errors import UsageError

if TYPE_CHECKING:
    from sessions.session import Session

#: What stands for every layer where layers are named.
ALL_LAYERS = "all"


class Layers(Word):
    """A range of layers, `9-26` or `12`, read as (first, last)."""

    name = "layers"
    shape = "LAYERS"

    def read(self, text: str) -> tuple[int, int]:
        first, dash, last = text.removeprefix("L").partition("-")
        if not is_whole(first) or (dash and not is_whole(last)) or (dash and int(last) < int(first)):
            raise UsageError(f"'{text}' is not a range of layers", "for example: 9-26, or 12")
        return int(first), int(last or first)

    def said(self, value: Any) -> str:
        return span(value)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        if session is None or session.model is None:
            return []
        count = session.model.info.n_layers
        return [(f"0-{count - 1}", "all of them"), (f"{count // 3}-{2 * count // 3}", "those in the middle")]


class LayersOrAll(Layers):
    """A range of layers, or the word for all of them, which stays as it is."""

    shape = "LAYERS|all"

    def said(self, value: Any) -> str:
        return ALL_LAYERS if value == ALL_LAYERS else super().said(value)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return ALL_LAYERS if value == ALL_LAYERS else super().convert(value, param, ctx)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [(ALL_LAYERS, "every layer"), *super().completions(session, incomplete)]


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

    def said(self, value: Any) -> str:
        return span(value)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("-1", "the last")]


class Spans(Word):
    """Positions and ranges of them, `0,3-9,-1`, read as pairs of first and last."""

    name = "positions"
    shape = "POSITIONS"

    def read(self, text: str) -> tuple[tuple[int, int], ...]:
        return tuple(Positions().read(part.strip()) for part in text.split(","))

    def said(self, value: Any) -> str:
        return ",".join(map(span, value))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("-1", "the prompt's last"), ("0", "the first")]


def span(value: tuple[int, int]) -> str:
    """A range as it is typed: `3-9`, or `3` where it is one."""
    first, last = value
    return str(first) if first == last else f"{first}-{last}"
