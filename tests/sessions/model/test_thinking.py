"""What ends a thought is read off the chat template, and a reply falls apart there into thought and answer."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Any

import pytest

from sessions.model.info import Prompt, Turn
from sessions.model.thinking import apart, apart_in, closing, markers
from sessions.model.tokens import encode
from tests.thinking import TEMPLATES, reading

#: Template → what ends a thought in it.
CLOSING = {
    "field": "</think>",
    "split": "</think>",
    "channels": "<|end|><|start|>assistant<|channel|>final<|message|>",
    "switch": "</think>",
    "chunks": "[/THINK]",
    "words": "<|END_THINKING|>",
    "tools": "<channel|>",
    "plain": "",
    "dumped": "",
}


@pytest.fixture
def tokenizer(smollm2: Any) -> Any:
    """One whose template can be changed; its vocabulary is that of all."""
    return copy(smollm2.tokenizer)


@pytest.mark.parametrize(("name", "marker"), CLOSING.items(), ids=CLOSING)
def test_the_marker_is_what_the_template_writes_behind_a_thought(tokenizer: Any, name: str, marker: str) -> None:
    tokenizer.chat_template = TEMPLATES[name]
    assert closing(tokenizer) == marker


def test_a_model_with_a_template_that_knows_no_thoughts_has_no_marker(smollm2: Any) -> None:
    assert closing(smollm2.tokenizer) == ""


def test_tags_among_the_added_tokens_are_the_last_resort(tokenizer: Any) -> None:
    tokenizer = deepcopy(tokenizer)
    tokenizer.chat_template = TEMPLATES["plain"]
    tokenizer.add_tokens(["</think>"])
    assert closing(tokenizer) == ""  # nothing opens it
    tokenizer = deepcopy(tokenizer)
    tokenizer.add_tokens(["<think>"])
    assert closing(tokenizer) == "</think>"


def test_another_template_is_another_marker(tokenizer: Any) -> None:
    for name in ("field", "chunks", "plain"):
        tokenizer.chat_template = TEMPLATES[name]
        assert closing(tokenizer) == CLOSING[name]


def test_a_template_that_refuses_everything_has_no_marker(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    assert markers(tokenizer).closing == ""


# ---- thought and answer


def begun(tokenizer: Any, **asked: Any) -> tuple[int, ...]:
    """Ids of what the prompt says of the reply."""
    encoded = encode(tokenizer, Prompt(text="Why?", **asked))
    return encoded.ids[encoded.reply :]


@pytest.mark.parametrize("special", [False, True], ids=["text", "special tokens"])
@pytest.mark.parametrize("name", [name for name, marker in CLOSING.items() if marker])
def test_a_reply_falls_apart_at_the_marker(tokenizer: Any, name: str, special: bool) -> None:
    tokenizer = reading(tokenizer, name, special=special)
    start, thought, end = TEMPLATES.thinking(name)
    ids = tokenizer.encode(f"{start}{thought}{end}It is 4.", add_special_tokens=False)
    assert apart(tokenizer, begun(tokenizer, thinking=True), ids) == (thought, "It is 4.")
    ids = tokenizer.encode(f"{start}{thought}", add_special_tokens=False)
    assert apart(tokenizer, begun(tokenizer, thinking=True), ids) == (thought, "")


@pytest.mark.parametrize("name", ["field", "channels", "switch", "plain"])
def test_a_reply_without_a_thought_is_an_answer(tokenizer: Any, name: str) -> None:
    tokenizer = reading(tokenizer, name, special=True)
    written = "<|channel|>final<|message|>It is 4." if name == "channels" else "It is 4."
    ids = tokenizer.encode(written, add_special_tokens=False)
    assert apart(tokenizer, begun(tokenizer), ids) == ("", "It is 4.")


@pytest.mark.parametrize("name", ["field", "switch"])
def test_where_the_template_closes_an_empty_thought_all_is_answer(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = TEMPLATES[name]
    ids = tokenizer.encode("It is </think> 4.", add_special_tokens=False)
    assert apart(tokenizer, begun(tokenizer, thinking=False), ids) == ("", "It is </think> 4.")


@pytest.mark.parametrize("name", ["field", "split", "channels", "switch"])
def test_a_text_without_its_ids_falls_apart_by_what_is_seen_of_the_marker(tokenizer: Any, name: str) -> None:
    """A marker of special tokens and of others is seen in part; of one of special tokens alone nothing is."""
    tokenizer = reading(tokenizer, name, special=True)
    start, thought, end = TEMPLATES.thinking(name)
    for answer in ("It is 4.", ""):
        ids = tokenizer.encode(f"{start}{thought}{end if answer else ''}{answer}", add_special_tokens=False)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        assert apart_in(tokenizer, begun(tokenizer, thinking=True), text) == (thought, answer)


# ---- the history a model reads


@pytest.mark.parametrize("name", list(CLOSING))
def test_an_earlier_thought_is_not_read_again(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = TEMPLATES[name]
    history = (Turn("user", "2 + 2?"), Turn("assistant", "It is 4.", "Two and two."))
    text = encode(tokenizer, Prompt(text="3 + 3?", history=history)).text
    assert text.index("2 + 2?") < text.index("It is 4.") < text.index("3 + 3?")
    assert "Two and two." not in text


def test_a_template_that_takes_thoughts_decides_whether_they_are_read(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ m.thinking or '-' }}</t>{{ m.content }}|{% endfor %}"
    history = (Turn("user", "2 + 2?"), Turn("assistant", "4", "Two and two."))
    text = encode(tokenizer, Prompt(text="3 + 3?", history=history)).text
    assert text == "-</t>2 + 2?|Two and two.</t>4|-</t>3 + 3?|"
