"""Chat templates: programs that come with a model and write its prompts. They run in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from sessions.errors import ModelError
from sessions.sandbox import ProgramError, TooMuch, answer_to, warm

__all__ = ["ProgramError", "rendered", "variables", "warm"]

#: Templates that were ended for computing too long. They are not tried again: all that is asked of one would wait.
_endless: set[str] = set()


def rendered(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, Any]], *, begun: bool = False, **switches: Any
) -> str:
    """What the tokenizer's template writes for these messages; with `begun`, the beginning of a reply too.

    Raises:
        Refused: the template raised an error: it takes no system text, say, or no such turns.
        ModelError: it takes too long, too much memory, or writes too much.
        Cancelled: the command that waits for it was cancelled.
    """
    try:
        if type(tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template:  # code, no template
            options = {"tokenize": False, "add_generation_prompt": begun, **switches}
            return str(tokenizer.apply_chat_template(list(messages), **options))
        template = str(tokenizer.get_chat_template())
    except Exception as error:  # there is none, there are several, or whatever the code may raise
        raise ProgramError(str(error)) from error
    said = [{key: value for key, value in each.items() if value is not None} for each in messages]
    words = {**tokenizer.special_tokens_map, **switches}
    request = {"kind": "template", "template": template, "messages": said, "words": words, "begun": begun}
    return str(_asked(request)["text"])


def variables(template: str) -> frozenset[str]:
    """What a template reads from outside. Raises as `rendered`."""
    return frozenset(_asked({"kind": "variables", "template": template})["variables"])


def _asked(request: dict[str, Any]) -> dict[str, Any]:
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
