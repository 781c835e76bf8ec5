"""Filters of any table: a text becomes comparisons and words; what is unfinished is left out, what is wrong is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.app.filtering import FilterColumn, NumberComparison, hint, parts

COLUMNS = (
    FilterColumn("attribution", "attr"),
    FilterColumn("activation", "act"),
    FilterColumn("share", "share", percent=True),
    FilterColumn("probability", "p"),
)


def one(text: str) -> NumberComparison:
    (found,) = parts(text, COLUMNS).comparisons
    return found


@pytest.mark.parametrize(
    "text", ["attr>0.4", "attr > 0.4", "attr> .4", "attribution>0.4", "ATTR>+0.40", "attri>4e-1", "attr  >0.4"]
)
def test_a_comparison_has_many_spellings(text: str) -> None:
    assert one(text)[:4] == ("attribution", ">", 0.4, False)
    assert parts(text, COLUMNS).words == ()


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        ("attr>0.4", 0.5, 0.4),
        ("attr>=0.4", 0.4, 0.3),
        ("attr≥0.4", 0.4, 0.3),
        ("attr<-0.1", -0.2, -0.1),
        ("attr<−0.1", -0.2, 0.0),
        ("|attr|>0.4", -0.5, -0.4),
        ("|attr|<=1", -1.0, 2.0),
        ("attr=0.4", 0.42, 0.46),
        ("attr==2", 2.0, 3.0),
        ("attr!=2", 3.0, 2.0),
        ("share>5%", 0.06, 0.05),
        ("share>5", 0.06, 0.05),
        ("share=5.1%", 0.0512, 0.05),
    ],
)
def test_a_comparison_is_true_of_some_numbers_and_never_of_missing_ones(text: str, true: float, false: float) -> None:
    compared = one(text)
    assert (compared.holds(true), compared.holds(false)) == (True, False)
    assert compared.holds(None) is False
    assert compared.holds(np.array([true, false, math.nan])).tolist() == [True, False, False]


@pytest.mark.parametrize(
    "text", ["attr>", "attr >=", "|attr", "|attr|", "|attr|>", "attr>-", "attr>.", "attr>-.", "attr>1e", "share>%"]
)
def test_what_is_being_typed_hides_nothing_and_is_not_wrong(text: str) -> None:
    found = parts(text, COLUMNS)
    assert (found.comparisons, found.quoted, found.words, found.wrong) == ((), (), (), "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attr>x", "'x' is not a number"),
        ("attr>0.4.5", "'0.4.5' is not a number"),
        ("attr>5%", "attr is not in percent"),
        ("foo>3", "no column of numbers is 'foo': attr, act, share, p"),
        ("a>3", "'a' may be attr or act"),
        ("|attr>3", "write |attr|>3"),
        ("attr>1 act>x", "'x' is not a number"),
    ],
)
def test_what_is_wrong_is_told_and_the_rest_applies(text: str, said: str) -> None:
    found = parts(text, COLUMNS)
    assert found.wrong == said
    assert len(found.comparisons) == text.count("attr>1")


def test_words_and_quoted_texts_stay_as_they_are() -> None:
    found = parts('Austin " the" -> x=3 "a>3" <s> p>0.5 the > rest', COLUMNS)
    assert found.words == ("Austin", "->", "x=3", "<s>", "the", ">", "rest")
    assert found.quoted == (" the", "a>3")
    assert found.comparisons == (NumberComparison("probability", ">", 0.5, step=0.05),)
    assert found.wrong == ""


def test_a_table_without_numbers_searches_for_everything() -> None:
    assert parts("attr>0.4", ()).words == ("attr>0.4",)


@given(st.text(max_size=30))
def test_any_text_has_parts(text: str) -> None:
    found = parts(text, COLUMNS)
    assert all(math.isfinite(each.number) for each in found.comparisons)
    assert "".join(found.words).split() == ["".join(found.words)] * bool(found.words)


def test_the_hint_shows_forms_that_are_understood() -> None:
    found = parts(hint(COLUMNS), COLUMNS)
    assert [each.key for each in found.comparisons] == ["attribution", "attribution", "share"]
    assert (found.words, found.quoted, found.wrong) == (("text",), (" text",), "")
