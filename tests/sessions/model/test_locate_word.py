"""A word finds its token, whatever it was tokenised into; what is not one place is refused with all places named."""

from __future__ import annotations

import pytest

from sessions.errors import UsageError
from sessions.model.info import Encoded, Prompt
from sessions.model.locate_word import marked


def text(*tokens: str, asked: str = "", seed: str = "") -> Encoded:
    whole = "".join(tokens)
    prompt = Prompt(text=asked or whole, seed=seed)
    return Encoded(
        prompt=prompt, text=whole, ids=tuple(range(len(tokens))), tokens=tokens, bos=0, templated=bool(asked)
    )


PLAIN = text("<s>", "A", " des", "cription", " of", " x", " is", ".")


@pytest.mark.parametrize(
    ("word", "position"),
    [("x", 5), (" x", 5), ("A", 1), ("of", 4), (".", 7), ("3", 3), ("-1", 7), ("0", 0), ("<s>", 0)],
)
def test_a_word_or_a_number_is_a_position(word: str, position: int) -> None:
    mark = marked(PLAIN, word)
    assert (mark.position, mark.token, mark.note) == (position, PLAIN.tokens[position], "")


def test_a_word_of_several_tokens_means_its_last_token_and_a_note_says_so() -> None:
    mark = marked(PLAIN, "description")
    assert (mark.position, mark.token) == (3, "cription")
    assert mark.note == "'description' is 2 tokens there; the last is meant, 'cription' at 3"


def test_a_word_is_not_looked_for_inside_others() -> None:
    found = text("ex", "act", " x", "ray", " x")
    assert marked(found, "x").position == 4
    assert marked(found, "ray").position == 3  # which stands nowhere alone, but is a token


def test_writing_without_spaces_has_words_too() -> None:
    assert marked(text("中国", "人", "民"), "人").position == 1


def test_what_the_user_wrote_comes_before_what_a_template_says() -> None:
    found = text("<user>", "is", " this", "</user>", "<bot>", "is", asked="is this")
    assert marked(found, "is").position == 1
    assert marked(found, "bot").position == 4
    seeded = text("<user>", "who", "</user>", "It", " is", asked="who", seed="It is")
    assert marked(seeded, "is").position == 4


@pytest.mark.parametrize(
    ("word", "nth", "said", "hint"),
    [
        ("y", None, "'y' does not stand in the text", "it reads"),
        ("a", None, "2 times, at 0, 3", "--nth 1"),
        ("a", 3, "2 times, at 0, 3", "--nth is 1 to 2"),
        ("hat", 2, "stands in the text once, at 4", "--nth is 1 to 1"),
        ("5", None, "no position 5", "its 5 positions are 0 to 4"),
        ("-6", None, "no position -6", "0 to 4"),
    ],
)
def test_what_is_not_one_place_is_refused(word: str, nth: int | None, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        marked(text("a", " cat", " in", " a", " hat"), word, nth)
    assert said in error.value.message and hint in error.value.hint


def test_nth_chooses() -> None:
    found = text("a", " cat", " in", " a", " hat")
    assert [marked(found, "a", nth).position for nth in (1, 2)] == [0, 3]
