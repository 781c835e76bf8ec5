"""A reply is right where its checks hold; the answer stands where it is first written."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.errors import ArtifactError
from sessions.evaluation.checks import Check, Verdict, checked, judged, token_at, usual, word_at


def verdict(kind: str, value: str, text: str) -> Verdict:
    return judged((checked(Check(kind, value), "line 1"),), text)


@pytest.mark.parametrize(
    ("answer", "text", "right", "at"),
    [
        ("42", "17 + 25 = 42", True, 10),
        ("42", "It is 42. No, 43.", False, 6),
        ("42", "I think 43... no: forty-two", False, None),
        ("1234", "That makes $1,234.00 in all", True, 12),
        ("1,234", "1234", True, 0),
        ("1234", "son 1.234", True, 4),
        ("0.75", "3/4", True, 0),
        ("3/4", r"so \frac{3}{4} of it", True, 3),
        ("-5", "x = −5", True, 4),
        ("5", "x = -5", False, None),
        ("42", "الجواب هو ٤٢", True, 10),
        ("42", r"\boxed{42} because 6 times 7", True, 7),
        ("42", r"first \boxed{1}, then \boxed{\text{about } 42}, in 3 steps", True, 43),
        ("18", "She makes 9 * 2 = 18.\n#### 18\nLesson 5", True, 18),
        ("5", "#### 5", True, 5),
        ("72", "#### 72 and then 5 more", True, 5),
        ("72", "#### $72. Then 5 more.", True, 6),
        ("72", "#### 72\n\nQuestion: Of 9 eggs 4 break.\nAnswer: 9 - 4 = 5\n#### 5", True, 5),
        ("18", "#### 9 * 2 = 18. Then 5 more", True, 13),
        ("72", "#### Step 1\n9 * 8\n#### Answer: 72 in 3 steps\nLesson 5", True, 31),
        ("72", "#### 1. Multiply\n9 * 8\n#### 2. Answer\nIt is 72", True, 44),
        ("72", "##### 5\nso 72", True, 11),
        ("72", "The answer is 72. Then 5 more come.", True, 14),
        ("72", "so the final answer is: **$72**, in 3 steps", True, 27),
        ("18", "The answer is 9 * 2 = 18, of 3", True, 22),
        ("42", "The answer is not 41 but 42", True, 25),
        ("72", "The answer is 72.\nQ: What is 2 + 3?\nA: The answer is 5.", True, 14),
        ("5", "The answer is 72. Then 5 more come.", False, 23),
        ("72", r"\boxed{72 \text{ cm}^2}, in 3 steps", True, 7),
        ("72", r"\boxed{72} or \boxed{x}, 3 times", True, 7),
        ("72", "\\boxed{72, said he\nin 5", True, 7),
        ("42", r"\boxed{x} so 42", True, 13),
        ("7", "", False, None),
    ],
)
def test_the_last_number_counts_unless_one_is_marked(answer: str, text: str, right: bool, at: int | None) -> None:
    assert verdict("number", answer, text)[:2] == (right, at)


@pytest.mark.parametrize(
    ("answer", "text", "right", "at"),
    [
        ("42", "It is 42. No, 43.", True, 6),
        ("42", r"\boxed{43}, not 42", True, 16),
        ("1234", "1,234 of 9 in 3 steps", True, 0),
        ("5", "x = -5", False, None),
        ("42", "It is 142", False, None),
        ("42", "", False, None),
    ],
)
def test_any_number_of_a_reply_may_be_the_answer_where_the_check_says_so(
    answer: str, text: str, right: bool, at: int | None
) -> None:
    assert verdict("any-number", answer, text)[:2] == (right, at)


@pytest.mark.parametrize(
    ("text", "answer", "word"),
    [
        ("42", "42", 0),
        ("The answer is 42.", "42", 3),
        ("17 + 25 = (42)", "42", 4),
        ("答案是：42。", "42", 3),
        ("答えは東京です", "東京", 3),
        ("정답은 서울 입니다", "서울", 1),
        ("الجواب هو ٤٢", "٤٢", 2),
        ("so  \n\n then 42", "42", 2),
    ],
)
def test_the_word_of_an_answer_is_how_many_stand_before_it(text: str, answer: str, word: int) -> None:
    assert word_at(text, text.index(answer)) == word


def test_a_text_is_found_in_any_case_and_any_white_space() -> None:
    assert verdict("contains", "New  York", "in NEW\nYORK city") == (True, 3, False)
    assert verdict("contains", "straße", "Die STRASSE")[:2] == (True, 4)
    assert verdict("contains", "París", "paris")[:2] == (False, None)
    assert verdict("contains", "a.b", "axb")[:2] == (False, None)
    assert verdict("contains", "París", "Es Pari\u0301s.")[:2] == (True, 3)
    assert verdict("contains", "Pari\u0301s", "París.")[:2] == (True, 0)
    assert verdict("contains", "한국", "é e\u0301 \u1112\u1161\u11ab\u1100\u116e\u11a8")[:2] == (True, 5)
    assert verdict("contains", "東京", "答えは東京です")[:2] == (True, 3)


@given(st.text(min_size=1).filter(str.strip), st.text())
def test_a_text_contains_itself(value: str, before: str) -> None:
    found = verdict("contains", value, before + value)
    assert found.right and found.at is not None and found.at <= len(before) + len(value)


def test_a_regular_expression_is_searched_for_as_it_stands() -> None:
    assert verdict("regex", r"\b[2357]\b", "It is 7.") == (True, 6, False)
    assert verdict("regex", r"^yes", "Yes")[:2] == (False, None)
    assert verdict("regex", r"(?i)^yes", "Yes")[:2] == (True, 0)


def test_an_expression_that_would_never_end_is_stopped() -> None:
    started = time.monotonic()
    assert verdict("regex", r"(a|aa)+$", "a" * 60 + "b") == (False, None, True)
    assert time.monotonic() - started < 30


def test_several_checks_must_all_hold_and_the_latest_match_is_the_place() -> None:
    checks = (Check("contains", "water"), Check("number", "2"))
    assert judged(checks, "water has 2") == (True, 10, False)
    assert judged(checks, "2 parts of water") == (True, 11, False)
    assert judged(checks, "water has 3") == (False, None, False)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (Check("number", "forty"), "'forty', which is not a number"),
        (Check("number", "4 or 5"), "which is not a number"),
        (Check("any-number", "forty"), "'forty', which is not a number"),
        (Check("number", "1/0"), "which is not a number"),
        (Check("regex", "(unclosed"), "not a regular expression: missing )"),
        (Check("regex", "a{99999999999999999999}"), "not a regular expression"),
        (Check("contains", "  "), "empty check 'contains'"),
        (Check("contains", "x" * 3000), "3,000 characters"),
    ],
)
def test_a_malformed_check_is_refused(check: Check, said: str) -> None:
    with pytest.raises(ArtifactError) as raised:
        checked(check, "tasks.jsonl, line 3,")
    assert raised.value.message.startswith("tasks.jsonl, line 3, ") and said in raised.value.message
    assert raised.value.hint


def test_an_answer_that_is_a_number_is_checked_as_one() -> None:
    assert [usual(answer) for answer in ("42", "-1,234.5", "3/4", "٤٢", "Paris", "H2O", "4 apples")] == [
        *["number"] * 4, *["contains"] * 3,
    ]  # fmt: skip


@given(st.lists(st.text("ab é日", min_size=1, max_size=4), min_size=1, max_size=12), st.data())
def test_the_token_of_a_character_is_the_one_that_writes_it(pieces: list[str], data: st.DataObject) -> None:
    """Tokens may end within a character, which is shown once it is complete."""
    text = "".join(pieces).encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text)), max_size=8)) | {len(text)})

    def text_of(count: int) -> str:
        return text[: cuts[count - 1]].decode(errors="replace") if count else ""

    at = data.draw(st.integers(0, len(text.decode()) - 1))
    token = token_at(text_of, len(cuts), at)
    end = len(text.decode()[: at + 1].encode())
    assert cuts[token] >= end and (token == 0 or cuts[token - 1] < end)
