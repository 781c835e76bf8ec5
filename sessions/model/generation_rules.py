"""Rules in a model's generation_config that other programs apply when they generate, and the workbench does not.

The workbench generates by the settings of the session only. A checkpoint may ask for more, such as a repetition penalty
or tokens that are never generated. Other programs then generate another text, which no logit explains; so a remark
lists these rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Field of a generation_config → its value in words, with the line that does the same here, if there is one.
_WORDS: dict[str, Callable[[Any], str]] = {
    "repetition_penalty": lambda value: f"a repetition penalty of {value:g} (set repetition_penalty {value:g})",
    "no_repeat_ngram_size": lambda value: f"no {value} tokens in a row twice (set no_repeat_ngram {value})",
    "suppress_tokens": lambda value: f"{_counted(value, 'token')} never said",
    "begin_suppress_tokens": lambda value: f"{_counted(value, 'token')} never said first",
    "bad_words_ids": lambda value: f"{_counted(value, 'text')} never said",
    "sequence_bias": lambda value: f"{_counted(value, 'text')} made likelier or less so",
    "forced_bos_token_id": lambda value: f"token {value} said first",
    "forced_eos_token_id": lambda value: f"token {value} said last",
    "forced_decoder_ids": lambda value: f"{_counted(value, 'token')} said first",
    "min_length": lambda value: f"{value:,} tokens at least, the prompt's included",
    "min_new_tokens": lambda value: f"{value:,} tokens at least",
    "exponential_decay_length_penalty": lambda value: "an end that grows likelier with length",
    "guidance_scale": lambda value: f"guidance by {value:g}",
    "num_beams": lambda value: f"{value} beams",
    "stop_strings": lambda value: f"an end before {_texts(value)} (--stop)",
    "watermarking_config": lambda value: "a watermark",
}
#: Values that ask for nothing.
_NOTHING: dict[str, Any] = {"repetition_penalty": 1, "guidance_scale": 1, "num_beams": 1}
_NAMED = 3


def rules_of(config: Any) -> tuple[str, ...]:
    """The rules of a generation_config in words; empty without a config."""
    rules = []
    for name, in_words in _WORDS.items():
        value = getattr(config, name, None)
        if value and value != _NOTHING.get(name):
            try:
                rules.append(in_words(value))
            except (TypeError, ValueError):  # a value of an unexpected type
                rules.append(f"{name} {value!r}"[:80])
    return tuple(rules)


def _counted(value: Any, what: str) -> str:
    count = len(value) if isinstance(value, list | tuple | dict | set) else 1
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def _texts(value: Any) -> str:
    texts = [value] if isinstance(value, str) else list(value)
    return ", ".join(map(repr, texts[:_NAMED])) + (", …" if len(texts) > _NAMED else "")
