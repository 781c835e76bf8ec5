"""Thoughts: how a model that thinks before it answers sets the one apart from the other.

What ends a thought is read off the chat template, which is the only thing that says it. An assistant's turn is rendered
with a thought and an answer, the thought under each of the names that templates give it; what stands between the two
is the marker (`</think>`, or the end of one channel and the beginning of the next). A template that takes no thought
apart may still begin a reply with an empty one where thinking is switched off, which shows both marks. Or it only cuts
the thoughts of earlier turns: then a pair of tags that names a thought is looked for in its text and, last, among the
tokens that were added to the vocabulary.
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

#: What templates call the part of an assistant's message that is its thought.
FIELDS = ("reasoning_content", "thinking", "reasoning", "thought")

#: Switches of templates that think only where they are told to.
SWITCHED_ON = {"enable_thinking": True, "thinking": True}
SWITCHED_OFF = {"enable_thinking": False, "thinking": False}

_ASKED = {"role": "user", "content": "a"}
_THOUGHT, _ANSWER = "zqthoughtqz", "zqanswerqz"
_CLOSING = re.compile(r"[<\[]\|?(?:/|END_)\w{0,40}(?:think|thought|reason)\w{0,40}\|?[>\]]", re.IGNORECASE)
#: Any closing tag.
_TAG = re.compile(r"[<\[]\|?/\w{1,40}\|?[>\]]")
#: An empty thought: what opens it, blanks, what closes it.
_EMPTY = re.compile(r"\s*(?P<opening>[<\[]\S{1,80})\s+(?P<closing>[<\[]\S{1,80}[>\]])(?P<gap>\s*)")
_OPPOSITE = {"/": ("",), "END_": ("START_", "BEGIN_")}
#: What stands between the keys and values of a message that a template writes out as data.
_DATA = re.compile(r"""["']\s*:\s*["']""")


class Markers(Struct, frozen=True):
    """What stands around a thought; all of it is "" where a model has none.

    `opening` and `closing` bound the thought, without white space at their ends. `direct` is what stands before an
    answer without a thought, the header of the turn included. `field` is the key of a message that its template takes
    a thought from; `chunks` says that it takes one as a chunk of the content. `gap` is the white space that the
    template writes between a closed thought and what follows.
    """

    opening: str = ""
    closing: str = ""
    direct: str = ""
    field: str = ""
    chunks: bool = False
    gap: str = "\n\n"


def closing(tokenizer: PreTrainedTokenizerBase) -> str:
    """The text that ends a thought, special tokens included; "" where nothing says what that is."""
    return markers(tokenizer).closing


def markers(tokenizer: PreTrainedTokenizerBase) -> Markers:
    """What the tokenizer's chat template sets a thought apart with."""
    return _markers(tokenizer, str(tokenizer.chat_template or ""))


def ended_by(tokenizer: PreTrainedTokenizerBase, marker: str) -> Markers:
    """What stands around a thought that ends with a text somebody names: the template's own marks where that is its
    text; else the tag that the text closes, `<think>` of `</think>`, or nothing where it closes none."""
    own = markers(tokenizer)
    if own.closing.strip() == marker.strip():
        return own
    texts = [str(tokenizer.chat_template or ""), *tokenizer.get_added_vocab()]
    opening = _opposite(marker.strip(), texts)
    if not opening and _TAG.fullmatch(marker.strip()):
        opening = marker.strip().replace("/", "", 1)
    return Markers(opening=opening, closing=marker)


def apart(tokenizer: PreTrainedTokenizerBase, begun: Sequence[int], ids: Sequence[int]) -> tuple[str, str]:
    """Thought and answer of a generated reply, as texts.

    A reply that ends within its thought has no answer; one without a thought is an answer, all of it.

    Args:
        begun: ids of what the prompt says of the reply already: the header of the turn, an opened thought, a seed.
        ids: what was generated.
    """

    def after(marker: str) -> str:
        found = bisect_left(range(len(ids) + 1), True, key=lambda count: marker in _raw(tokenizer, begun, ids[:count]))
        return _shown(tokenizer, ids[found:])

    return _apart(
        markers(tokenizer), _raw(tokenizer, begun), _raw(tokenizer, begun, ids), _shown(tokenizer, ids), after
    )


def apart_in(tokenizer: PreTrainedTokenizerBase, begun: Sequence[int], text: str) -> tuple[str, str]:
    """`apart`, of a text whose ids are not known: markers are found by what is seen of them.

    Where nothing is seen of them, the text is taken for an answer.
    """
    found = markers(tokenizer)
    seen = Markers(
        opening=_seen(tokenizer, found.opening),
        closing=_seen(tokenizer, found.closing),
        direct=_seen(tokenizer, found.direct),
    )
    start = _shown(tokenizer, begun)
    return _apart(seen, start, start + text, text, lambda marker: (start + text).partition(marker)[2])


def _apart(found: Markers, start: str, said: str, whole: str, after: Callable[[str], str]) -> tuple[str, str]:
    """Thought and answer of `said`, which begins with `start`; `after` is the answer behind a marker."""
    if not found.closing or found.closing in start:  # a closed thought in the prompt: the model was told not to think
        return "", whole
    head, closed, _ = said.partition(found.closing)
    opened = bool(found.opening) and found.opening in head
    thought = head.partition(found.opening)[2] if opened else head.removeprefix(start)
    if closed:
        return thought.strip(), after(found.closing).strip()
    if opened:
        return thought.strip(), ""
    if found.direct and said.startswith(found.direct):
        return "", after(found.direct).strip()
    return "", whole


def _raw(tokenizer: PreTrainedTokenizerBase, *parts: Sequence[int]) -> str:
    return text_of(tokenizer, [token for part in parts for token in part])


def _shown(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return text_of(tokenizer, ids, special=False)


def _seen(tokenizer: PreTrainedTokenizerBase, marker: str) -> str:
    """What a generated text shows of a marker: special tokens are left out of it."""
    return _shown(tokenizer, tried(tokenizer, marker)).strip()


@lru_cache(maxsize=8)
def _markers(tokenizer: PreTrainedTokenizerBase, template: str) -> Markers:
    """`template` is the tokenizer's, as a key: it can be changed."""
    if not template:
        return Markers()
    for field, message in _thinking():
        head, between = _around(_rendered(tokenizer, [_ASKED, message]))
        if between:
            return Markers(_opening(tokenizer, head, between), between, _direct(tokenizer), field, chunks=not field)
    empty = _empty(tokenizer)
    if empty is not None:
        return empty
    texts = [template, *tokenizer.get_added_vocab()]
    found = _pair(texts)
    return Markers(_opposite(found, texts), found) if found else Markers()


def _empty(tokenizer: PreTrainedTokenizerBase) -> Markers | None:
    """The marks of the empty thought that a template begins a reply with where thinking is switched off."""
    begun = _begun(tokenizer, SWITCHED_ON), _begun(tokenizer, SWITCHED_OFF)
    found = _EMPTY.fullmatch(begun[1].removeprefix(begun[0])) if begun[1].startswith(begun[0]) else None
    return None if found is None else Markers(opening=found["opening"], closing=found["closing"], gap=found["gap"])


def _begun(tokenizer: PreTrainedTokenizerBase, switches: dict[str, bool]) -> str:
    """What a template begins a reply with."""
    asked = _rendered(tokenizer, [_ASKED], **switches)
    return _rendered(tokenizer, [_ASKED], begun=True, **switches).removeprefix(asked)


def _thinking() -> Iterable[tuple[str, dict[str, Any]]]:
    """Messages with a thought and an answer, in the forms in use, each with the field the thought is in."""
    for field in FIELDS:
        yield field, {"role": "assistant", "content": _ANSWER, field: _THOUGHT}
    chunks = [{"type": "thinking", "thinking": _THOUGHT}, {"type": "text", "text": _ANSWER}]
    yield "", {"role": "assistant", "content": chunks}


def _around(text: str) -> tuple[str, str]:
    """What stands before the thought, and between it and the answer."""
    head, thought, rest = text.partition(_THOUGHT)
    between, answer, _ = rest.partition(_ANSWER)
    return (head, between.strip()) if thought and answer and not _DATA.search(between) else ("", "")


def _opening(tokenizer: PreTrainedTokenizerBase, head: str, closing: str) -> str:
    """The tag that `closing` closes, or all that the template writes between a question and the thought."""
    tag = _opposite(closing, [head])
    return tag or _behind(head, _rendered(tokenizer, [_ASKED]))


def _direct(tokenizer: PreTrainedTokenizerBase) -> str:
    alone = _rendered(tokenizer, [_ASKED, {"role": "assistant", "content": _ANSWER}])
    return _behind(alone.partition(_ANSWER)[0], _rendered(tokenizer, [_ASKED]))


def _behind(text: str, before: str) -> str:
    return text[in_common(text, before) :].strip()


def in_common(one: Sequence[Any], two: Sequence[Any]) -> int:
    """How many elements both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], begun: bool = False, **switches: bool
) -> str:
    try:
        return templates.rendered(tokenizer, messages, begun=begun, **(switches or SWITCHED_ON))
    except (templates.ProgramError, ModelError):  # it does not take them, or cannot be asked at all
        return ""


def _pair(texts: Sequence[str]) -> str:
    """The first closing tag of a thought whose opening one is there as well."""
    found = (match[0] for text in texts for match in _CLOSING.finditer(text))
    return next((tag for tag in found if _opposite(tag, texts)), "")


def _opposite(closing: str, texts: Sequence[str]) -> str:
    """The tag that a closing one closes, if it is in one of the texts."""
    tags = (
        closing.replace(ends, begins, 1) for ends, opens in _OPPOSITE.items() if ends in closing for begins in opens
    )
    return next((tag for tag in tags if any(tag in text for text in texts)), "")
