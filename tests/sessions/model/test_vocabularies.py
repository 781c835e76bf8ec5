"""What is read, looked up and written is exact in every manner of tokenizer, blanks and prefixes included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.errors import UsageError
from sessions.model.generation import Decoding, ending_ids, generate
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel, adopt
from sessions.model.texts import text_of
from sessions.model.tokens import continuation, encode, end_of_turn, ids_behind, plain_ids, prefix_remarks, token_text
from tests.families import tiny, tiny_tokenizer
from tests.vocabularies import CHATS, VOCABULARIES, opened, saying, spoken

SENTENCEPIECE = ("normalizer", "normalizer, marks", "metaspace", "metaspace, always")
#: Vocabularies that have every text in them; the tiny one does not know most characters.
WHOLE = [name for name in VOCABULARIES if name != "tiny"]
texts = st.text(st.sampled_from("ath A.,\n éß€𓀀"), min_size=1, max_size=12)


def written(model: OpenModel, ids: Sequence[int], **decoding: Any) -> tuple[str, list[str], str]:
    """The text of these ids as it is generated, its pieces, and what ended it."""
    decoding.setdefault("max_tokens", len(ids) + 1)
    pieces: list[str] = []
    with saying(model, ids):
        ends = ending_ids(model.model, model.tokenizer)
        steps = generate(model.model, model.tokenizer, [[1, 5]], Decoding(ends=ends, **decoding))
        while True:
            try:
                pieces += next(steps).pieces
            except StopIteration as stop:
                (row,) = stop.value
                return row.text, pieces, row.stopped


# ---- what is read


@pytest.mark.parametrize("name", VOCABULARIES)
@given(text=texts)
def test_a_raw_prompt_is_what_the_tokenizer_makes_of_it(name: str, text: str) -> None:
    tokenizer = spoken(name)
    own = tokenizer(text)["input_ids"]
    if name == "byte level, ends":
        assert own.pop() == tokenizer.eos_token_id
    assert list(encode(tokenizer, Prompt(text=text, chat=False)).ids) == own
    assert plain_ids(tokenizer, text) == (own if text.strip() else [])


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("name", ["byte level, marks", "normalizer, marks", "metaspace", "glm"])
def test_a_chat_prompt_is_what_its_template_makes_of_it(name: str, chat: str) -> None:
    tokenizer = spoken(name, chat)
    turn = [{"role": "user", "content": "that is  A"}]
    own = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True)["input_ids"]
    assert list(encode(tokenizer, Prompt(text="that is  A")).ids) == own


def test_a_prefix_that_is_no_bos_is_read_and_said() -> None:
    plain = encode(spoken("glm"), Prompt(text="that", chat=False))
    assert plain.tokens[:2] == ("[gMASK]", "<sop>") and (plain.bos, plain.prefix) == (0, 2)
    assert "'[gMASK]' '<sop>'" in prefix_remarks(spoken("glm"), plain)[0]
    templated = encode(spoken("glm", "glm"), Prompt(text="that"))
    assert templated.tokens.count("<sop>") == 1 and templated.prefix == 2
    without = encode(spoken("glm", "chatml"), Prompt(text="that"))
    assert "begins without '[gMASK]' '<sop>'" in prefix_remarks(spoken("glm", "chatml"), without)[0]


@pytest.mark.parametrize(("name", "prefix"), [("normalizer", "<s>"), ("byte level", "<s>"), ("glm", "[gMASK]<sop>")])
def test_a_prefix_that_a_text_brings_along_stands_there_once(name: str, prefix: str) -> None:
    plain, brought = (encode(spoken(name), Prompt(text=text, chat=False)) for text in ("that", f"{prefix}that"))
    assert brought.tokens[: plain.prefix + 1] != brought.tokens[: plain.prefix] * 2
    assert brought.tokens.count(plain.tokens[0]) == 1
    assert prefix_remarks(spoken(name), brought) == prefix_remarks(spoken(name), plain)


def test_what_a_tokenizer_puts_behind_a_text_ends_no_prompt() -> None:
    tokenizer = spoken("byte level, ends")
    encoded = encode(tokenizer, Prompt(text="that", seed=" is", chat=False))
    assert tokenizer.eos_token_id not in encoded.ids
    assert [token.text for token in continuation(tokenizer, encoded, " at").tokens] == [" a", "t"]


# ---- blanks


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_one_blank_and_two_are_different_texts(name: str) -> None:
    tokenizer = spoken(name)
    one, two, word = tokenizer.convert_tokens_to_ids(["▁", "▁▁", "▁th"])
    assert [token_text(tokenizer, each) for each in (one, two, word)] == [" ", "  ", " th"]


@pytest.mark.parametrize("name", WHOLE)
@given(text=texts)
def test_what_stands_behind_a_text_reads_back_as_it_was_written(name: str, text: str) -> None:
    assert text_of(spoken(name), ids_behind(spoken(name), text)) == text


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize(
    ("prompt", "text"), [("that is ", "At"), ("that is", " At"), ("that is", "  At"), ("a\n", "At")]
)
def test_a_target_is_the_id_that_goes_on_with_the_text(name: str, prompt: str, text: str) -> None:
    tokenizer = spoken(name)
    encoded = encode(tokenizer, Prompt(text=prompt, chat=False))
    found = continuation(tokenizer, encoded, text)
    ids = [*encoded.ids, *(token.id for token in found.tokens)]
    assert tokenizer.decode(ids, skip_special_tokens=True) == prompt + text
    assert "".join(token.text for token in found.tokens) == text


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=12, deadline=None)
@given(text=texts)
def test_a_text_is_generated_with_its_first_blank_and_every_character(name: str, text: str) -> None:
    whole, pieces, _ = written(opened(name), ids_behind(spoken(name), text))
    assert whole == text == "".join(pieces)


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_a_long_text_of_characters_without_tokens_is_written_in_full(name: str) -> None:
    text = "€" * 9 + "𓀀" * 5 + "ß€" * 4
    whole, pieces, _ = written(opened(name), ids_behind(spoken(name), text))
    assert whole == text
    assert [piece for piece in pieces if piece] == list(text)


@pytest.mark.parametrize("name", WHOLE)
def test_a_stop_text_that_begins_with_a_blank_ends_a_text_that_does(name: str) -> None:
    ids = ids_behind(spoken(name), " At that")
    assert written(opened(name), ids, stops=(" At",))[::2] == ("", "stop")
    assert written(opened(name), ids, stops=("that",))[::2] == (" At ", "stop")


# ---- ids that the model has no embedding for


def past_the_last_row() -> OpenModel:
    tokenizer = tiny_tokenizer(template=CHATS["chatml"])
    tokenizer.add_tokens(["<image>", "<pad2>"])
    tokenizer.pad_token = "<pad2>"
    return adopt(tiny("llama"), tokenizer, name="tiny")


def test_padding_that_the_model_does_not_know_is_exchanged_for_what_it_knows() -> None:
    model = past_the_last_row()
    assert model.tokenizer.pad_token_id < 64
    rows = [[1, 5], [1, 5, 6, 7]]
    assert len([*generate(model.model, model.tokenizer, rows, Decoding(max_tokens=2))]) == 2


@pytest.mark.parametrize("chat", [False, True])
def test_a_token_past_the_last_row_is_refused_in_a_prompt_and_a_target(chat: bool) -> None:
    model = past_the_last_row()
    message = r"'<image>' is token 64, and the model has embeddings for 64 tokens only"
    with pytest.raises(UsageError, match=message):
        encode(model.tokenizer, Prompt(text="the <image>", chat=chat))
    with pytest.raises(UsageError, match=message):
        continuation(model.tokenizer, encode(model.tokenizer, Prompt(text="the", chat=False)), "<image>")


# ---- what ends a reply


@pytest.mark.parametrize(
    ("chat", "end"),
    [("chatml", "<|im_end|>"), ("llama2", "</s>"), ("glm", "<|user|>"), ("vicuna", "</s>"), ("plain", "</s>")],
)
@pytest.mark.parametrize("name", ["byte level, marks", "normalizer, marks"])
def test_a_reply_ends_where_its_template_ends_one(name: str, chat: str, end: str) -> None:
    tokenizer = spoken(name, chat)
    assert {tokenizer.convert_tokens_to_ids(end)} <= end_of_turn(tokenizer)
    assert len(end_of_turn(tokenizer)) <= 2
