"""What the verbs of the prompt return: models, prompts, texts, conversations."""

from __future__ import annotations

from typing import ClassVar

from sessions.events import Value
from sessions.interventions.arms import Arm
from sessions.model.info import Encoded, ModelInfo, TokenChance, Turn


class ModelOpened(Value, frozen=True, kw_only=True):
    """`model`: the open model."""

    info: ModelInfo


class Generated(Value, frozen=True, kw_only=True):
    """`generate`: the text, as the one arm it is."""

    encoded: Encoded
    arm: Arm

    @property
    def text(self) -> str:
        return self.arm.text


class PromptSet(Value, frozen=True, kw_only=True):
    """`prompt`, `seed`: the prompt as the model will read it; and what it says to it, where that was asked for."""

    encoded: Encoded
    generated: Generated | None = None


class Tokens(Value, frozen=True, kw_only=True):
    """`tokens`: the exact ids of the prompt."""

    encoded: Encoded


class Said(Value, frozen=True, kw_only=True):
    """`say`: the reply, as the one arm it is, its thought and answer apart.

    `closing` is the marker that parts them, "" where one of them is missing. `exchanges` counts those of the
    conversation, this one included if it was kept. `under` names what was suppressed and live; `baseline` is the
    answer without what was live, where it was asked for.
    """

    encoded: Encoded
    arm: Arm
    thought: str
    answer: str
    closing: str
    exchanges: int
    under: str = ""
    baseline: str = ""

    @property
    def text(self) -> str:
        return self.answer


class HistoryShown(Value, frozen=True, kw_only=True):
    """`history`: the last exchanges of a conversation, `turns` in order, of the `exchanges` that it has."""

    table: ClassVar[str] = "turns"
    turns: tuple[Turn, ...]
    exchanges: int
    system: str | None
    thinking: bool | None


class Forgotten(Value, frozen=True, kw_only=True):
    """`forget`: how many exchanges went, and how many are left."""

    exchanges: int
    left: int


class Distribution(Value, frozen=True, kw_only=True):
    """`top`, `prob`: next-token probabilities, the likeliest first."""

    table: ClassVar[str] = "chances"
    encoded: Encoded
    chances: tuple[TokenChance, ...]
