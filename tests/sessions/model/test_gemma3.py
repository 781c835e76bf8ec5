"""What is said of models is so of Gemma 3 270M: all that needs it, where one test process opens it."""

from __future__ import annotations

from typing import Any

import pytest

from sessions.errors import ModelError
from sessions.model.info import Prompt, Turn
from sessions.model.opening import OpenModel
from sessions.model.thinking import closing
from sessions.model.tokens import encode
from tests.sessions.circuits.test_attribution import assert_conserved
from tests.sessions.model.test_opening import said


def test_gemma3_completes_text_and_has_no_template(gemma3: OpenModel) -> None:
    assert not gemma3.info.has_template
    text = Prompt(text="The capital of the state of Texas is the city of", chat=False)
    assert said(gemma3, text, 1) == " Austin"


def test_gemma3_reads_text_exactly_with_one_bos(gemma3: OpenModel) -> None:
    for text in ("The capital of Texas is", " two  spaces\n\n\tand a tab", "naïve 東京 🦙 it's 1984", "<h1>x</h1>"):
        ids = gemma3.tokenizer(text)["input_ids"]
        assert ids.count(gemma3.tokenizer.bos_token_id) == 1 == ids.index(gemma3.tokenizer.bos_token_id) + 1
        assert gemma3.tokenizer.decode(ids, skip_special_tokens=True) == text
    # A wrong order of merges, or specials that are cut up, would show here.
    for token in (107, 108, 138, 105, 9539, 86459, 200_000):
        piece = gemma3.tokenizer.convert_ids_to_tokens(token).replace("▁", " ")
        assert gemma3.tokenizer.encode(piece, add_special_tokens=False) == [token]


def test_a_family_that_wants_a_bos_gets_exactly_one(gemma3: Any) -> None:
    bos = gemma3.tokenizer.bos_token_id
    for text in ("The capital of Texas is", "<bos>The capital of Texas is", "<bos><bos>The capital of Texas is"):
        encoded = encode(gemma3.tokenizer, Prompt(text=text, chat=False))
        assert encoded.ids[0] == bos and encoded.bos == 1
        assert bos not in encoded.ids[1:]


def test_a_template_that_writes_the_bos_itself_does_not_double_it(gemma3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gemma3.tokenizer, "chat_template", "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    encoded = encode(gemma3.tokenizer, Prompt(text="Hello"))
    assert encoded.templated and encoded.bos == 1 and encoded.ids.count(gemma3.tokenizer.bos_token_id) == 1


def test_gemma3_has_no_thoughts(gemma3: OpenModel) -> None:
    assert closing(gemma3.tokenizer) == ""


def test_without_a_template_there_is_no_conversation(gemma3: Any) -> None:
    with pytest.raises(ModelError, match="only a chat template"):
        encode(gemma3.tokenizer, Prompt(text="And?", history=(Turn("user", "Why?"), Turn("assistant", "So."))))


def test_relevance_is_conserved(gemma3: OpenModel) -> None:
    assert_conserved(gemma3)
