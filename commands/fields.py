"""Parameters that many verbs have, each with its kind of word and its help."""

from __future__ import annotations

from typing import Annotated

from commands.choices import THINKING
from commands.request import Opt
from commands.words import Length, RowsWord, TextWord, Whole

MaxTokens = Annotated[int | None, Opt(Length(), "tokens to generate at most (default: the setting max_tokens)")]
Batch = Annotated[int | None, Opt(Whole(), "tokens computed at once, which bounds the memory")]
NeuronRows = Annotated[int | None, Opt(RowsWord(), "neurons to show at most (default: the setting rows)")]
Thinking = Annotated[str | None, Opt(THINKING, "turn thinking on or off, where the template has the switch")]
Marker = Annotated[str | None, Opt(TextWord(), "the text that ends a thought (default: the template's)")]
