"""Renders chat templates, programs that come with a model and write its prompts, in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from sessions.errors import ModelError
from sessions.sandbox import ProgramError, TooMuch, answer_to, warm

__all__ = ["ProgramError", "rendered", "variables", "warm"]

#: Templates that exceeded the time limit; running one again would wait again.
_endless: set[str] = set()


def rendered(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, Any]], *, begun: bool = False, **switches: Any
) -> str:
    """The text that the tokenizer's template writes for these messages; with `begun`, the beginning of a reply too.

    Raises:
        ProgramError: the template raised an error, for example because it takes no system text.
        ModelError: the template takes too long, uses too much memory, or writes too much.
        Cancelled: the command was cancelled.
    """
    try:
        if type(tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template:  # code instead
            options = {"tokenize": False, "add_generation_prompt": begun, **switches}
            return str(tokenizer.apply_chat_template(list(messages), **options))
        template = str(tokenizer.get_chat_template())
    except Exception as error:  # no template, several templates, or an error of the tokenizer's code
        raise ProgramError(str(error)) from error
    given = [{key: value for key, value in message.items() if value is not None} for message in messages]
    words = {**tokenizer.special_tokens_map, **switches}
    request = {"kind": "template", "template": template, "messages": given, "words": words, "begun": begun}
    return str(_answer(request)["text"])


def variables(template: str) -> frozenset[str]:
    """The names of the variables that a template reads. Raises as `rendered`."""
    return frozenset(_answer({"kind": "variables", "template": template})["variables"])


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """The sandbox's answer to a request; a template that exceeded its time once is refused at once."""
    template = request["template"]
    try:
        if template in _endless:
            raise TooMuch("time")
        return answer_to(request)
    except TooMuch as error:
        if error.what == "time":
            _endless.add(template)
        hint = "it comes with the model: read prompts without it, with --raw"
        raise ModelError(f"the chat template {error.said}", hint) from error
