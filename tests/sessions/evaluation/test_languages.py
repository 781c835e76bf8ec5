"""Seven languages are told apart by script and small words; where only the script is sure, only that is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.evaluation.languages import LANGUAGES, kept, language_of

SENTENCES = {
    "zh": "一个书架上有十二本书,小明又放上去五本。现在一共有多少本?请写出计算过程。",
    "en": "A shelf holds twelve books, and Ann puts five more on it. How many are there now?",
    "es": "En un estante hay doce libros y Ana pone cinco más. ¿Cuántos libros hay ahora?",
    "ar": "على الرف اثنا عشر كتابا، ثم وضعت سارة خمسة كتب أخرى. كم كتابا هناك الآن؟",
    "ja": "本棚に本が十二冊あります。花子さんが五冊を加えました。今は全部で何冊ありますか。",
    "ko": "책장에 책이 열두 권 있습니다. 영희가 다섯 권을 더 놓았습니다. 이제 모두 몇 권입니까?",
    "sw": "Rafu ina vitabu kumi na viwili, kisha Asha anaongeza vitabu vitano. Je, kuna vitabu vingapi kwa jumla?",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_is_in_its_language(language: str) -> None:
    assert language_of(SENTENCES[language]) == language
    with_formula = f"{SENTENCES[language]} \\frac{{x}}{{y}} = 12 + 5, \\boxed{{17}}"
    assert language_of(with_formula) == language


def test_a_reply_is_kept_in_its_own_language_and_lost_in_any_other() -> None:
    for asked, prompt in SENTENCES.items():
        for replied, reply in SENTENCES.items():
            assert kept(language_of(prompt), language_of(reply)) is (asked == replied)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", ""),
        ("42, 3/4 and… no", "en"),
        ("42 = 6 × 7", ""),
        ("x = y + 2", ""),
        (r"\boxed{42}", ""),
        ("Paris", "latin"),
        ("Paris Berlin Roma", "latin"),
        ("北京", "han"),
        ("東京です", "ja"),
        ("コーヒー", "ja"),
        ("Ответ: сорок два", "cyrillic"),
        ("답은 42 apples", "ko"),
        ("The answer is 東京 and that is the capital", "en"),
    ],
)
def test_languages_of_short_and_mixed_texts(text: str, language: str) -> None:
    assert language_of(text) == language


def test_where_only_the_script_is_told_it_is_the_script_that_is_kept() -> None:
    assert kept("en", "latin") is kept("zh", "han") is kept("ja", "han") is kept("latin", "es") is True
    assert kept("zh", "latin") is kept("en", "han") is kept("cyrillic", "en") is kept("ja", "zh") is False
    assert kept("cyrillic", "cyrillic") is True
    assert kept("", "en") is kept("en", "") is None


@given(st.text())
def test_a_language_is_only_given_to_a_text_with_letters(text: str) -> None:
    assert (language_of(text) == "") or any(character.isalpha() for character in text)
