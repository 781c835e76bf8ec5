"""Writes a reply in the form in which the chat template puts it behind a prompt, as if the model had written it.

The whole conversation is rendered. The text behind the rendered prompt is the reply as the model would write it: with
the blank that some templates put before it, without the blanks that others trim, with the empty thought that some put
before an answer, and with the end of the turn. A template may begin a reply in another form than it writes a finished
one: it opens a thought that it leaves out of a finished turn. Then the thought is closed as the model would close it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from sessions.errors import ModelError, UsageError
from sessions.model.info import Encoded, Turn
from sessions.model.texts import text_of
from sessions.model.thinking import Markers, ended_by, in_common, markers
from sessions.model.tokens import joined, message, rendered

#: A placeholder reply, to find the text that a template writes around a reply.
_MARKER = "zqanswerqz"


class WrittenReply(NamedTuple):
    """The text behind the prompt.

    `text[begin:end]` is the reply itself. Before it stand its thought and other text of the template, behind it the end
    of the turn.
    """

    text: str
    begin: int
    end: int


def written(
    tokenizer: PreTrainedTokenizerBase, encoded: Encoded, reply: Turn, marker: str | None = None
) -> WrittenReply:
    """A reply, with its thought, as the template writes it behind the prompt; unchanged without a template.

    Args:
        marker: the text that ends the thought, if it differs from the template's.

    Raises:
        UsageError: the reply has a thought, and the template has no place for one.
        ModelError: the template refuses the reply, or does not write it.
    """
    marks = markers(tokenizer)
    if reply.thought and marker is not None and ended_by(tokenizer, marker) != marks:
        return _ended(tokenizer, encoded, reply, ended_by(tokenizer, marker))
    if reply.thought and not marks.closing:
        raise UsageError(
            "this model's template knows no thoughts",
            'leave out --thinking, or name what ends one: --marker "</think>"',
        )
    if not encoded.templated:
        return WrittenReply(reply.text, 0, len(reply.text))
    frame = _frame(tokenizer, encoded)
    for turn in _messages(tokenizer, reply):
        whole = rendered(tokenizer, encoded.prompt, begun=False, more=(turn,))
        behind = whole.removeprefix(encoded.text)
        if whole.startswith(encoded.text) and reply.thought.strip() in behind and not _is_cut(marks, reply, behind):
            return _within(behind, frame, reply)
    return _closed(tokenizer, encoded, frame, reply)


def lead(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> str:
    """The text that precedes the content of a reply without a thought, "" if the template cannot continue this prompt.

    It is what the template writes there, and the blank that some vocabularies put behind special tokens.
    """
    with suppress(ModelError, UsageError):
        frame = _frame(tokenizer, encoded)
        if frame.shared == len(encoded.text):
            ids = joined(tokenizer, encoded, frame.lead + _MARKER).ids
            return text_of(tokenizer, ids, special=False).partition(_MARKER)[0]
    return ""


class _Frame(NamedTuple):
    """The text that a template writes around a reply without a thought: `lead` before it, `tail` behind it.

    The prompt and the whole conversation agree in their first `shared` characters; `lead` begins there.
    """

    shared: int
    lead: str
    tail: str


def _frame(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> _Frame:
    turn = {"role": "assistant", "content": _MARKER}
    before, marker, behind = rendered(tokenizer, encoded.prompt, begun=False, more=(turn,)).rpartition(_MARKER)
    if not marker:
        raise ModelError("the chat template does not write what a reply says", "open a model whose template does")
    shared = in_common(before, encoded.text)
    return _Frame(shared, before[shared:], behind)


def _messages(tokenizer: PreTrainedTokenizerBase, reply: Turn) -> Iterator[dict[str, Any]]:
    """The reply in the form that the template takes: its thought in a field, or as a chunk of the content."""
    marks = markers(tokenizer)
    if not reply.thought or marks.field:
        yield message(tokenizer, reply)
    elif marks.chunks:
        thought, answer = {"type": "thinking", "thinking": reply.thought}, {"type": "text", "text": reply.text}
        yield {"role": reply.role, "content": [thought, answer]}


def _is_cut(marks: Markers, reply: Turn, written: str) -> bool:
    """Whether the template left out a thought that is part of the reply's text."""
    return bool(marks.closing) and marks.closing in reply.text and marks.closing not in written


def _within(text: str, frame: _Frame, reply: Turn) -> WrittenReply:
    """Find the reply in the text behind the prompt."""
    end = len(text) - len(frame.tail) if text.endswith(frame.tail) else len(text)
    begin = text.rfind(reply.text.strip(), 0, end)
    if begin < 0:  # the template changes the words: everything after its lead is the reply
        begin = len(frame.lead) if text.startswith(frame.lead) else 0
    return WrittenReply(text, begin, end)


def _ended(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, reply: Turn, marks: Markers) -> WrittenReply:
    """A reply whose thought stands between other marks than the template's.

    The template renders the reply without its thought. An empty thought that it writes itself is left out.
    """
    plain = written(tokenizer, encoded, Turn(reply.role, reply.text))
    before = "" if markers(tokenizer).closing else plain.text[: plain.begin]
    begun = not marks.opening or encoded.text.rstrip().endswith(marks.opening)
    start = "" if begun else f"{marks.opening}\n"
    end = marks.closing if marks.closing[:1].isspace() else f"\n{marks.closing}"
    thought = before + start + reply.thought + end + ("" if end[-1:].isspace() else marks.gap)
    answer = plain.text[plain.begin : plain.end]
    return WrittenReply(thought + answer + plain.text[plain.end :], len(thought), len(thought) + len(answer))


def _closed(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, frame: _Frame, reply: Turn) -> WrittenReply:
    """A reply behind a prompt that begins it in another form than the template writes a finished one.

    The opened thought is closed, even if it is empty, and the reply follows as the template writes it.
    """
    marks = markers(tokenizer)
    opened = bool(marks.opening) and encoded.text.rstrip().endswith(marks.opening)
    turn = {"role": reply.role, "content": reply.text}
    finished = _within(rendered(tokenizer, encoded.prompt, begun=False, more=(turn,))[frame.shared :], frame, reply)
    answer, thought = finished.text[finished.begin : finished.end], ""
    if _is_cut(marks, reply, finished.text):
        answer = reply.text.strip().removeprefix(marks.opening).lstrip() if opened else reply.text
    elif reply.thought or opened:
        start = "" if opened or not marks.opening else f"{marks.opening}\n"
        thought = f"{start}{reply.thought}\n{marks.closing}{marks.gap}"
    return WrittenReply(thought + answer + frame.tail, len(thought), len(thought) + len(answer))
