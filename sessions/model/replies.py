"""A reply as the chat template writes it: what has to follow the ids of a prompt for the model to have said it.

The whole conversation is rendered, and what it has behind the rendered prompt is the reply as the model would write it:
with the blank that some templates put before it, without the blanks that others trim, with the empty thought that some
set before an answer, and with what ends the turn. Only where a template begins a reply in another way than it writes
one (it opens a thought that it leaves out of a finished turn) is the beginning closed as the model would close it.
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

#: A reply to look for in what a template writes around it.
_MARKER = "zqanswerqz"


class WrittenReply(NamedTuple):
    """What follows the prompt: `text[begin:end]` is the reply itself, before it stands its thought and whatever else
    the template writes there, behind it what ends the turn."""

    text: str
    begin: int
    end: int


def written(
    tokenizer: PreTrainedTokenizerBase, encoded: Encoded, reply: Turn, marker: str | None = None
) -> WrittenReply:
    """A reply, its thought included, as its template writes it behind the prompt; without a template, as it stands.

    Args:
        marker: the text that ends the thought, where it is to be another than the template's.

    Raises:
        UsageError: it has a thought, and the template knows none.
        ModelError: the template refuses it, or writes something else.
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
    """What a reply without a thought begins with before it says anything: what the template writes there, and the blank
    that some vocabularies put behind special tokens. "" where the template writes no reply behind this prompt."""
    with suppress(ModelError, UsageError):
        frame = _frame(tokenizer, encoded)
        if frame.shared == len(encoded.text):
            ids = joined(tokenizer, encoded, frame.lead + _MARKER).ids
            return text_of(tokenizer, ids, special=False).partition(_MARKER)[0]
    return ""


class _Frame(NamedTuple):
    """What a template writes around any reply without a thought: `lead` before it, from the prompt's character `shared`
    on, with which both the prompt and the conversation begin; `tail` behind it."""

    shared: int
    lead: str
    tail: str


def _frame(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> _Frame:
    turn = {"role": "assistant", "content": _MARKER}
    before, found, behind = rendered(tokenizer, encoded.prompt, begun=False, more=(turn,)).rpartition(_MARKER)
    if not found:
        raise ModelError("the chat template does not write what a reply says", "open a model whose template does")
    shared = in_common(before, encoded.text)
    return _Frame(shared, before[shared:], behind)


def _messages(tokenizer: PreTrainedTokenizerBase, reply: Turn) -> Iterator[dict[str, Any]]:
    """The reply in the forms that templates take: with its thought in a field, or as a chunk of its content."""
    marks = markers(tokenizer)
    if not reply.thought or marks.field:
        yield message(tokenizer, reply)
    elif marks.chunks:
        thought, answer = {"type": "thinking", "thinking": reply.thought}, {"type": "text", "text": reply.text}
        yield {"role": reply.role, "content": [thought, answer]}


def _is_cut(marks: Markers, reply: Turn, written: str) -> bool:
    """Whether the template has left out a thought that stands in the text of a reply."""
    return bool(marks.closing) and marks.closing in reply.text and marks.closing not in written


def _within(text: str, frame: _Frame, reply: Turn) -> WrittenReply:
    """Where a reply lies in what was written behind the prompt."""
    end = len(text) - len(frame.tail) if text.endswith(frame.tail) else len(text)
    said = text.rfind(reply.text.strip(), 0, end)
    if said < 0:  # the template writes it in other words: all of it is the reply, but what stands before any
        said = len(frame.lead) if text.startswith(frame.lead) else 0
    return WrittenReply(text, said, end)


def _ended(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, reply: Turn, marks: Markers) -> WrittenReply:
    """A reply whose thought stands between marks that are not its template's, which is told nothing of it. An empty
    thought that the template would write before the reply is left out."""
    plain = written(tokenizer, encoded, Turn(reply.role, reply.text))
    before = "" if markers(tokenizer).closing else plain.text[: plain.begin]
    begun = not marks.opening or encoded.text.rstrip().endswith(marks.opening)
    start = "" if begun else f"{marks.opening}\n"
    end = marks.closing if marks.closing[:1].isspace() else f"\n{marks.closing}"
    thought = before + start + reply.thought + end + ("" if end[-1:].isspace() else marks.gap)
    said = plain.text[plain.begin : plain.end]
    return WrittenReply(thought + said + plain.text[plain.end :], len(thought), len(thought) + len(said))


def _closed(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, frame: _Frame, reply: Turn) -> WrittenReply:
    """A reply behind a prompt that begins it in another way than the template writes one: a thought is closed, if only
    an empty one, and the reply follows as the template writes it."""
    marks = markers(tokenizer)
    opened = bool(marks.opening) and encoded.text.rstrip().endswith(marks.opening)
    turn = {"role": reply.role, "content": reply.text}
    found = _within(rendered(tokenizer, encoded.prompt, begun=False, more=(turn,))[frame.shared :], frame, reply)
    said, thought = found.text[found.begin : found.end], ""
    if _is_cut(marks, reply, found.text):
        said = reply.text.strip().removeprefix(marks.opening).lstrip() if opened else reply.text
    elif reply.thought or opened:
        start = "" if opened or not marks.opening else f"{marks.opening}\n"
        thought = f"{start}{reply.thought}\n{marks.closing}{marks.gap}"
    return WrittenReply(thought + said + frame.tail, len(thought), len(thought) + len(said))
