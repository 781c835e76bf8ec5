"""A line is read as words, and a word can always be written so that it is read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.grammar import TEXTS, words_of
from commands.line import LineWord, is_blank, is_text, words
from sessions.errors import UsageError
from sessions.lines import quoted

#: Lines that are likelier to hold what the rules are about than any text is.
LINES = st.one_of(st.text(), st.text(alphabet=" \t\"'\\#-=ab\n\r\x1f\x85\u2028"))


def texts(line: str) -> list[str]:
    return [word.text for word in words(line)]


@given(st.lists(st.text()))
def test_quoted_words_are_read_as_they_were(given_words: list[str]) -> None:
    assert texts(" ".join(map(quoted, given_words))) == given_words


@given(st.lists(st.text()), st.sampled_from(["--vs=", "--top-p="]))
def test_a_quoted_value_may_follow_the_name_of_an_option(values: list[str], name: str) -> None:
    line = " ".join(f"{name}{quoted(value)}" if quoted(value)[0] == '"' else f"{name}{value}" for value in values)
    assert texts(line) == [name + value for value in values]


@given(st.text())
def test_a_quoted_word_stays_on_one_line(text: str) -> None:
    assert not set("\n\r") & set(quoted(text))


@given(LINES)
def test_a_line_is_words_or_an_error_that_says_where(line: str) -> None:
    try:
        words(line)
    except UsageError as error:
        assert error.column is not None and 0 <= error.column < len(line)
        assert error.message and error.hint


@given(LINES)
def test_half_a_line_never_fails_and_reads_like_the_whole(line: str) -> None:
    half = words(line, unfinished=True)
    try:
        assert words(line) == half
        assert not any(word.open for word in half)
    except UsageError:
        pass


@given(LINES)
def test_words_stand_where_they_say(line: str) -> None:
    end = 0
    for word in words(line, unfinished=True):
        assert end <= word.start < word.end <= len(line)
        assert not line[end : word.start].strip()
        assert words(line[word.start : word.end], unfinished=True)[0].text == word.text
        end = word.end
    assert not line[end:].strip() or line[end:].lstrip().startswith("#")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("  \t ", []),
        ("# all of it", []),
        ("top 5 # five", ["top", "5"]),
        ("prompt C# is a language", ["prompt", "C#", "is", "a", "language"]),
        ("prompt What's the capital?", ["prompt", "What's", "the", "capital?"]),
        ('discover " Austin"', ["discover", " Austin"]),
        ("discover ' Austin'", ["discover", " Austin"]),
        (r'prompt "a\"b\\c\nd\te\rf"', ["prompt", 'a"b\\c\nd\te\rf']),
        (r"prompt 'a\nb'", ["prompt", r"a\nb"]),
        (r'prompt "C:\users"', ["prompt", r"C:\users"]),
        (r"prompt C:\new", ["prompt", r"C:\new"]),
        ('discover --vs=" Houston" x', ["discover", "--vs= Houston", "x"]),
        ('""', [""]),
        ("a#b 'c' \"#d\"", ["a#b", "c", "#d"]),
    ],
)
def test_a_line_is_split_into_words(line: str, expected: list[str]) -> None:
    assert texts(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("prompt Who is #1 today?", ["prompt", "Who", "is", "#1", "today?"]),
        ("prompt Who is #1 today?  # the question", ["prompt", "Who", "is", "#1", "today?"]),
        ("prompt The capital of Texas is   # the question", ["prompt", "The", "capital", "of", "Texas", "is"]),
        ("say ## A heading", ["say", "##", "A", "heading"]),
        ("seed #", ["seed"]),
        ("seed #tag --x", ["seed", "#tag", "--x"]),
        ("# prompt Who is #1?", []),
        ("top 5 #five", ["top", "5"]),
        ('arms "ablate top10" #one', ["arms", "ablate top10"]),
        ("save a#1 #two", ["save", "a#1"]),
    ],
)
def test_in_a_text_as_it_comes_a_comment_has_a_blank_behind_its_sign(line: str, expected: list[str]) -> None:
    assert [word.text for word in words_of(line)] == expected
    assert [word.text for word in words_of(line, unfinished=True)] == expected


def test_which_verbs_take_a_text_as_it_comes() -> None:
    assert sorted(TEXTS) == ["prompt", "say", "seed"]


@given(LINES, st.sampled_from(["top", "expect", "arms", "prob"]))
def test_in_other_verbs_every_sign_begins_a_comment(line: str, verb: str) -> None:
    assert words_of(f"{verb} {line}", unfinished=True) == words(f"{verb} {line}", unfinished=True)


def test_a_quote_that_is_not_closed_is_found_where_it_opens() -> None:
    with pytest.raises(UsageError) as raised:
        words('discover " Austin')
    assert raised.value.column == 9
    assert "column 10" in raised.value.message
    assert raised.value.hint == 'end it with "'


def test_a_closing_quote_wants_a_space_after_it() -> None:
    with pytest.raises(UsageError, match="a closing quote is followed") as raised:
        words('prompt "Hello".')
    assert raised.value.column == 14


def test_an_open_quote_reaches_to_the_end_of_half_a_line() -> None:
    assert words('load "te ', unfinished=True)[-1] == LineWord("te ", 5, 9, quoted=True, open=True)
    assert words('discover --vs=" A', unfinished=True)[-1] == LineWord("--vs= A", 9, 17, quoted=False, open=True)


def test_a_pasted_book_is_read_at_once() -> None:
    assert len(texts("prompt " + quoted('say "hi"\n' * 200_000))[1]) == 1_800_000


def test_what_holds_no_command() -> None:
    assert is_blank("") and is_blank(" \t") and is_blank("  # x")
    assert not is_blank("top # x") and not is_blank('"#"')


def test_bytes_that_were_no_utf8_are_no_text() -> None:
    assert is_text("é 漢 🙂 \0")
    assert not is_text(b"caf\xe9".decode("utf-8", "surrogateescape"))
