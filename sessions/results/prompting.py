"""Results of the verbs about the prompt: models, prompts, texts, conversations."""

from __future__ import annotations

from typing import ClassVar

from sessions.events import Value
from sessions.interventions.arms import Arm
from sessions.model.info import Encoded, ModelInfo, TokenChance, Turn


class ModelOpened(Value, frozen=True, kw_only=True):
    """`model`: the open model."""

    info: ModelInfo


class Generated(Value, frozen=True, kw_only=True):
    """`generate`: the text, as a single arm."""

    encoded: Encoded
    arm: Arm

    @property
    def text(self) -> str:
        return self.arm.text


class PromptSet(Value, frozen=True, kw_only=True):
    """`prompt`, `seed`: the prompt as the model reads it, and the model's reply where it was asked for."""

    encoded: Encoded
    generated: Generated | None = None


class Tokens(Value, frozen=True, kw_only=True):
    """`tokens`: the token ids of the prompt."""

    encoded: Encoded


class Said(Value, frozen=True, kw_only=True):
    """`say`: the reply, as a single arm, with its thought and its answer separate.

    `closing` is the marker between them, "" where one of them is missing. `exchanges` counts the exchanges of the
    conversation, with this one if it was kept. `under` names what was suppressed and live; `baseline` is the answer
    without what was live, where it was asked for.
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
    """`history`: the last exchanges of a conversation, as `turns` in order, of `exchanges` in all."""

    table: ClassVar[str] = "turns"
    turns: tuple[Turn, ...]
    exchanges: int
    system: str | None
    thinking: bool | None


class Forgotten(Value, frozen=True, kw_only=True):
    """`forget`: how many exchanges were removed, and how many are left."""

    exchanges: int
    left: int


class Distribution(Value, frozen=True, kw_only=True):
    """`top`, `prob`: next-token probabilities, the likeliest first."""

    table: ClassVar[str] = "chances"
    encoded: Encoded
    chances: tuple[TokenChance, ...]
