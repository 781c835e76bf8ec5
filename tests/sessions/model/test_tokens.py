"""The ids a model reads are exact: one BOS, the template's own, targets tokenised where they stand."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.errors import ModelError, UsageError
from sessions.model.info import Prompt, Turn
from sessions.model.tokens import continuation, encode, end_of_turn, token_text
from sessions.views.writing import quoted
from tests.families import tiny_tokenizer
from tests.reference import AUSTIN
from tests.thinking import TEMPLATES

PROMPT = Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed)


def test_prompt_and_seed_are_the_ids_of_the_reference(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, PROMPT)
    assert encoded.ids == AUSTIN.ids
    assert encoded.text == AUSTIN.formatted
    assert encoded.bos == 1 and encoded.templated
    assert "".join(encoded.tokens) == encoded.text


def test_a_raw_prompt_is_read_as_it_stands(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text="The capital of Texas is", chat=False))
    assert encoded.text == "The capital of Texas is" and not encoded.templated
    assert encoded.tokens == ("The", " capital", " of", " Texas", " is")


def test_the_thinking_switch_reaches_the_template(smollm2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{{ messages[0]['content'] }}{% if enable_thinking is defined %} think={{ enable_thinking }}{% endif %}"
    monkeypatch.setattr(smollm2.tokenizer, "chat_template", template)
    assert encode(smollm2.tokenizer, Prompt(text="x")).text == "x"
    assert encode(smollm2.tokenizer, Prompt(text="x", thinking=False)).text == "x think=False"
    assert encode(smollm2.tokenizer, Prompt(text="x", thinking=True)).text == "x think=True"


def test_a_system_text_replaces_the_templates_own(smollm2: Any) -> None:
    text = encode(smollm2.tokenizer, Prompt(text="Hi", system="You are a pirate.")).text
    assert "You are a pirate." in text and "SmolLM" not in text


def test_a_template_that_refuses_is_one_clear_error(smollm2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2.tokenizer, "chat_template", "{{ raise_exception('no system role') }}")
    with pytest.raises(ModelError, match="refused the prompt: no system role"):
        encode(smollm2.tokenizer, PROMPT)


def test_an_empty_prompt_is_an_error(smollm2: Any) -> None:
    with pytest.raises(UsageError, match="prompt is empty"):
        encode(smollm2.tokenizer, Prompt(text="", chat=False))


def test_a_target_is_tokenised_where_it_stands(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, PROMPT)
    assert [token.id for token in continuation(smollm2.tokenizer, encoded, " Austin").tokens] == [AUSTIN.target_id]
    several = continuation(smollm2.tokenizer, encoded, " Antananarivo").tokens
    assert len(several) > 1 and "".join(token.text for token in several) == " Antananarivo"


def test_a_target_that_merges_with_the_prompt_is_taken_by_itself_and_said_so(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text="The capital of Tex", chat=False))
    found = continuation(smollm2.tokenizer, encoded, "as")
    assert [token.text for token in found.tokens] == ["as"]
    assert "merge" in found.notes[0]


def test_every_token_of_the_vocabulary_has_a_text(smollm2: Any) -> None:
    texts = [token_text(smollm2.tokenizer, i) for i in range(len(smollm2.tokenizer))]
    assert all(isinstance(text, str) for text in texts)
    assert " Austin" in texts


def test_the_template_names_the_end_of_a_turn(smollm2: Any) -> None:
    assert end_of_turn(smollm2.tokenizer) == {smollm2.tokenizer.convert_tokens_to_ids("<|im_end|>")}


# ---- where the reply begins


def before_reply(opened: Any, prompt: Prompt) -> str:
    encoded = encode(opened.tokenizer, prompt)
    return "".join(encoded.tokens[: encoded.reply])


def test_the_reply_begins_where_the_template_begins_it(smollm2: Any) -> None:
    asked = before_reply(smollm2, PROMPT)
    assert asked.endswith("What is the capital of Texas?<|im_end|>\n")
    assert encode(smollm2.tokenizer, PROMPT).text.removeprefix(asked) == f"<|im_start|>assistant\n{AUSTIN.seed}"
    assert before_reply(smollm2, Prompt(text=AUSTIN.prompt)) == asked


def test_what_the_template_says_for_the_model_belongs_to_the_reply(
    smollm2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2.tokenizer, "chat_template", TEMPLATES["field"])
    asked, off = (encode(smollm2.tokenizer, Prompt(text="Why?", thinking=thinking)) for thinking in (None, False))
    assert asked.reply == off.reply
    assert "".join(off.tokens[off.reply :]) == "<|im_start|>assistant\n<think>\n\n</think>\n\n"


def test_a_template_that_begins_no_reply_leaves_all_of_it_to_the_model(
    smollm2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2.tokenizer, "chat_template", "{% for m in messages %}{{ m.content }}.{% endfor %}")
    encoded = encode(smollm2.tokenizer, Prompt(text="Why"))
    assert encoded.reply == len(encoded.ids)


def test_a_seed_that_merges_with_the_prompt_takes_the_token_with_it(smollm2: Any) -> None:
    assert before_reply(smollm2, Prompt(text="The capital of Tex", seed="as is", chat=False)) == "The capital of"
    assert before_reply(smollm2, Prompt(text="The capital of", seed=" Texas", chat=False)) == "The capital of"


@given(st.text(max_size=12), st.text(max_size=12), st.booleans())
def test_what_stands_before_the_reply_is_a_part_of_what_was_asked(text: str, seed: str, chat: bool) -> None:
    tokenizer = tiny_tokenizer(template="{% for m in messages %}{{ m.content }}. {% endfor %}")
    encoded = encode(tokenizer, Prompt(text=text, seed=seed, chat=chat))
    alone = encode(tokenizer, Prompt(text=text, chat=chat))
    assert encoded.bos <= encoded.reply <= alone.reply == len(alone.ids)
    assert encoded.ids[: encoded.reply] == alone.ids[: encoded.reply]


# ---- conversations


def test_earlier_turns_stand_before_the_question(smollm2: Any) -> None:
    history = (Turn("user", "What is the capital of Texas?"), Turn("assistant", "Austin."))
    encoded = encode(smollm2.tokenizer, Prompt(text="And of France?", system="Be brief.", history=history))
    parts = ("Be brief.", "What is the capital of Texas?", "Austin.", "And of France?")
    assert [encoded.text.count(part) for part in parts] == [1] * 4
    assert sorted(parts, key=encoded.text.index) == list(parts)
    assert "".join(encoded.tokens[: encoded.reply]).endswith("And of France?<|im_end|>\n")


def test_parts_of_a_character_are_written_as_their_bytes(smollm2: Any) -> None:
    ids = smollm2.tokenizer.encode("鰻 é", add_special_tokens=False)
    texts = [token_text(smollm2.tokenizer, token) for token in ids]
    assert not any("\ufffd" in text for text in texts)
    data = b"".join(
        bytes.fromhex(part[2:4]) + part[4:].encode() if part.startswith("\\x") else part.encode()
        for text in texts
        for part in re.split(r"(?=\\x)", text)
    )
    assert data.decode() == "鰻 é"
    assert any(text.startswith("\\x") for text in texts)


def test_a_lone_byte_is_quoted_as_one() -> None:
    assert quoted("\\xe3") == '"\\xe3"'
    assert quoted("C:\\new \\x41") == '"C:\\\\new \\\\x41"'
