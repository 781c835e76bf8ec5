"""Separates the thought of a model from its answer.

Only the chat template says how a thought ends. An assistant's turn is rendered with a thought and an answer, the
thought under each of the names that templates use. The text between the two is the marker: `</think>`, or the end of
one channel and the beginning of the next. Some templates take no separate thought, but begin a reply with an empty one
if thinking is off; this shows both marks. Others only cut the thoughts of earlier turns: then a pair of tags that names
a thought is searched in the template's text and, last, among the tokens added to the vocabulary.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct
from transformers import PreTrainedTokenizerBase

from sessions.errors import ModelError
from sessions.model import templates
from sessions.model.texts import text_of, tried

#: Templates' names of the message field that holds the assistant's thought.
FIELDS = ("reasoning_content", "thinking", "reasoning", "thought")

#: Template variables that switch thinking on and off.
SWITCHED_ON = {"enable_thinking": True, "thinking": True}
SWITCHED_OFF = {"enable_thinking": False, "thinking": False}

_QUESTION = {"role": "user", "content": "a"}
_THOUGHT, _ANSWER = "zqthoughtqz", "zqanswerqz"
_CLOSING = re.compile(r"[<\[]\|?(?:/|END_)\w{0,40}(?:think|thought|reason)\w{0,40}\|?[>\]]", re.IGNORECASE)
#: Any closing tag.
_TAG = re.compile(r"[<\[]\|?/\w{1,40}\|?[>\]]")
#: An empty thought: opening tag, blanks, closing tag.
_EMPTY = re.compile(r"\s*(?P<opening>[<\[]\S{1,80})\s+(?P<closing>[<\[]\S{1,80}[>\]])(?P<gap>\s*)")
_OPPOSITE = {"/": ("",), "END_": ("START_", "BEGIN_")}
#: The separator of keys and values in a message that a template prints as data.
_DATA = re.compile(r"""["']\s*:\s*["']""")


class Markers(Struct, frozen=True):
    """The texts around a thought; "" if a model has none.

    `opening` and `closing` bound the thought, without white space at their ends. `direct` precedes an answer without a
    thought, and includes the header of the turn. The template takes a thought from the message key `field`, or, with
    `chunks`, as a chunk of the content. `gap` is the white space between a closed thought and the answer.
    """

    opening: str = ""
    closing: str = ""
    direct: str = ""
    field: str = ""
    chunks: bool = False
    gap: str = "\n\n"


def closing(tokenizer: PreTrainedTokenizerBase) -> str:
    """The text that ends a thought, special tokens included; "" if it is unknown."""
    return markers(tokenizer).closing


def markers(tokenizer: PreTrainedTokenizerBase) -> Markers:
    """The marks that the tokenizer's chat template puts around a thought."""
    return _markers(tokenizer, str(tokenizer.chat_template or ""))


def ended_by(tokenizer: PreTrainedTokenizerBase, marker: str) -> Markers:
    """The marks around a thought that ends with the text `marker`.

    They are the template's own if `marker` is the template's. Otherwise `opening` is the tag that `marker` closes
    (`<think>` for `</think>`), or "".
    """
    own = markers(tokenizer)
    if own.closing.strip() == marker.strip():
        return own
    texts = [str(tokenizer.chat_template or ""), *tokenizer.get_added_vocab()]
    opening = _opposite(marker.strip(), texts)
    if not opening and _TAG.fullmatch(marker.strip()):
        opening = marker.strip().replace("/", "", 1)
    return Markers(opening=opening, closing=marker)


def apart(tokenizer: PreTrainedTokenizerBase, begun: Sequence[int], ids: Sequence[int]) -> tuple[str, str]:
    """The thought and the answer of a generated reply, as texts.

    A reply that ends within its thought has no answer. A reply without a thought is all answer.

    Args:
        begun: ids at the end of the prompt that belong to the reply: the turn's header, an opened thought, a seed.
        ids: the generated ids.
    """

    def after(marker: str) -> str:
        end = bisect_left(range(len(ids) + 1), True, key=lambda count: marker in _raw(tokenizer, begun, ids[:count]))
        return _shown(tokenizer, ids[end:])

    return _apart(
        markers(tokenizer), _raw(tokenizer, begun), _raw(tokenizer, begun, ids), _shown(tokenizer, ids), after
    )


def apart_in(tokenizer: PreTrainedTokenizerBase, begun: Sequence[int], text: str) -> tuple[str, str]:
    """`apart` for a text without ids, which shows the marks without their special tokens.

    A text that shows no marks is all answer.
    """
    marks = markers(tokenizer)
    seen = Markers(
        opening=_seen(tokenizer, marks.opening),
        closing=_seen(tokenizer, marks.closing),
        direct=_seen(tokenizer, marks.direct),
    )
    start = _shown(tokenizer, begun)
    return _apart(seen, start, start + text, text, lambda marker: (start + text).partition(marker)[2])


def _apart(marks: Markers, start: str, text: str, whole: str, after: Callable[[str], str]) -> tuple[str, str]:
    """Thought and answer of `text`, which begins with `start`; `after` gives the answer behind a marker.

    `whole` is the answer if there is no thought.
    """
    if not marks.closing or marks.closing in start:  # a closed thought in the prompt: the model was told not to think
        return "", whole
    head, closed, _ = text.partition(marks.closing)
    opened = bool(marks.opening) and marks.opening in head
    thought = head.partition(marks.opening)[2] if opened else head.removeprefix(start)
    if closed:
        return thought.strip(), after(marks.closing).strip()
    if opened:
        return thought.strip(), ""
    if marks.direct and text.startswith(marks.direct):
        return "", after(marks.direct).strip()
    return "", whole


def _raw(tokenizer: PreTrainedTokenizerBase, *parts: Sequence[int]) -> str:
    return text_of(tokenizer, [token for part in parts for token in part])


def _shown(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return text_of(tokenizer, ids, special=False)


def _seen(tokenizer: PreTrainedTokenizerBase, marker: str) -> str:
    """The part of a marker that a generated text shows, which leaves special tokens out."""
    return _shown(tokenizer, tried(tokenizer, marker)).strip()


@lru_cache(maxsize=8)
def _markers(tokenizer: PreTrainedTokenizerBase, template: str) -> Markers:
    """`template` is the tokenizer's; it is part of the cache key because it can change."""
    if not template:
        return Markers()
    for field, message in _thinking():
        head, between = _around(_rendered(tokenizer, [_QUESTION, message]))
        if between:
            return Markers(_opening(tokenizer, head, between), between, _direct(tokenizer), field, chunks=not field)
    empty = _empty(tokenizer)
    if empty is not None:
        return empty
    texts = [template, *tokenizer.get_added_vocab()]
    closing_tag = _pair(texts)
    return Markers(_opposite(closing_tag, texts), closing_tag) if closing_tag else Markers()


def _empty(tokenizer: PreTrainedTokenizerBase) -> Markers | None:
    """The marks of the empty thought with which a template begins a reply if thinking is off."""
    begun = _begun(tokenizer, SWITCHED_ON), _begun(tokenizer, SWITCHED_OFF)
    match = _EMPTY.fullmatch(begun[1].removeprefix(begun[0])) if begun[1].startswith(begun[0]) else None
    return None if match is None else Markers(opening=match["opening"], closing=match["closing"], gap=match["gap"])


def _begun(tokenizer: PreTrainedTokenizerBase, switches: dict[str, bool]) -> str:
    """The text with which a template begins a reply."""
    question = _rendered(tokenizer, [_QUESTION], **switches)
    return _rendered(tokenizer, [_QUESTION], begun=True, **switches).removeprefix(question)


def _thinking() -> Iterable[tuple[str, dict[str, Any]]]:
    """Messages with a thought and an answer in each known form, with the field of the thought."""
    for field in FIELDS:
        yield field, {"role": "assistant", "content": _ANSWER, field: _THOUGHT}
    chunks = [{"type": "thinking", "thinking": _THOUGHT}, {"type": "text", "text": _ANSWER}]
    yield "", {"role": "assistant", "content": chunks}


def _around(text: str) -> tuple[str, str]:
    """The text before the thought, and the text between thought and answer; "" if one of them is missing."""
    head, thought, rest = text.partition(_THOUGHT)
    between, answer, _ = rest.partition(_ANSWER)
    return (head, between.strip()) if thought and answer and not _DATA.search(between) else ("", "")


def _opening(tokenizer: PreTrainedTokenizerBase, head: str, closing: str) -> str:
    """The tag that `closing` closes, or else all text that the template writes between a question and the thought."""
    tag = _opposite(closing, [head])
    return tag or _behind(head, _rendered(tokenizer, [_QUESTION]))


def _direct(tokenizer: PreTrainedTokenizerBase) -> str:
    alone = _rendered(tokenizer, [_QUESTION, {"role": "assistant", "content": _ANSWER}])
    return _behind(alone.partition(_ANSWER)[0], _rendered(tokenizer, [_QUESTION]))


def _behind(text: str, before: str) -> str:
    return text[in_common(text, before) :].strip()


def in_common(one: Sequence[Any], two: Sequence[Any]) -> int:
    """The number of leading elements that both sequences share."""
    return next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], begun: bool = False, **switches: bool
) -> str:
    try:
        return templates.rendered(tokenizer, messages, begun=begun, **(switches or SWITCHED_ON))
    except (templates.ProgramError, ModelError):  # it refuses these messages, or cannot run at all
        return ""


def _pair(texts: Sequence[str]) -> str:
    """The first closing tag of a thought in the texts whose opening tag is there too, or ""."""
    tags = (match[0] for text in texts for match in _CLOSING.finditer(text))
    return next((tag for tag in tags if _opposite(tag, texts)), "")


def _opposite(closing: str, texts: Sequence[str]) -> str:
    """The opening tag of a closing tag, if one of the texts contains it, or ""."""
    tags = (
        closing.replace(ends, begins, 1) for ends, opens in _OPPOSITE.items() if ends in closing for begins in opens
    )
    return next((tag for tag in tags if any(tag in text for text in texts)), "")
