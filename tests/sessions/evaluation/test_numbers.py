"""A written number is worth what it says, in whatever digits and with whatever separators."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.evaluation.numbers import numbers, value_of

ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def first_values(text: str) -> list[Fraction]:
    return [number.values[0] for number in numbers(text) if number.values]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("42", ["42"]),
        ("The answer is 42.", ["42"]),
        ("42.0 and 42,", ["42", "42"]),
        ("$1,234.50", ["1234.5"]),
        ("1,234,567.89 and 12,34,567", ["1234567.89", "1234567"]),
        ("1.234.567,89", ["1234567.89"]),
        ("1 234 567, 1\u202f234 and 1'000", ["1", "234", "567", "1234", "1000"]),
        ("2020\u00a0300", ["2020", "300"]),
        ("-42, −42, +42", ["-42", "-42", "42"]),
        ("10-3 and x-4 and (2)-1", ["10", "3", "4", "2", "1"]),
        ("答案是42,然后-7", ["42", "-7"]),
        ("الجواب ٤٢ أو ٣٫٥", ["42", "3.5"]),
        ("x = .5 or 3/4 or 1 / 2", ["0.5", "3/4", "1/2"]),
        (r"\frac{3}{4} and \dfrac{-1}{2}", ["3/4", "-1/2"]),
        ("3/4/2024", ["3", "4", "2024"]),
        ("1e3 and 2.5E-2", ["1000", "1/40"]),
        ("H2O, L24, a_1, x2y3", []),
        ("1,2,3", ["3"]),
        ("192.168.0.1, 3.14.15", []),
        ("1/0 and \\frac{1}{0}", []),
        ("", []),
    ],
)
def test_numbers_are_read_as_they_are_written(text: str, values: list[str]) -> None:
    assert first_values(text) == [Fraction(value) for value in values]


def test_a_point_and_a_comma_can_be_either_and_the_first_reading_is_english() -> None:
    assert [list(map(float, number.values)) for number in numbers("1,234 1.234 3,14 1,5")] == [
        [1234.0, 1.234], [1.234, 1234.0], [3.14, 14.0], [1.5, 5.0],
    ]  # fmt: skip


@given(st.integers(-(10**20), 10**20))
def test_an_integer_is_itself_in_every_spelling(number: int) -> None:
    plain, grouped = str(number), f"{number:,}"
    spellings = [plain, grouped, f"{plain}.0", f"{plain}.00", grouped.replace(",", "."), grouped.replace(",", "\u202f")]
    spellings += [plain.translate(ARABIC), plain.translate(WIDE), grouped.replace(",", "٬").translate(ARABIC)]
    for text in spellings:
        (found,) = numbers(f"so it is {text}.")
        assert number in found.values, text
        assert (found.start, found.end) == (9, 9 + len(text)), text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
def test_a_decimal_number_is_exact(number: object) -> None:
    assert value_of(f"{number:f}") == value_of(f"{number:,f}") == Fraction(f"{number:f}")


@given(st.integers(-999, 999), st.integers(1, 999))
def test_a_fraction_is_its_quotient(above: int, below: int) -> None:
    assert value_of(f"{above}/{below}") == value_of(rf"\frac{{{above}}}{{{below}}}") == Fraction(above, below)


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    found = list(numbers(text))
    assert all(0 <= number.start < number.end <= len(text) for number in found)
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_what_is_too_long_to_be_a_number_costs_nothing() -> None:
    for text in ("9" * 200_000, "1," * 50_000, "1." * 50_000, "1/" * 50_000, "1e999 " * 1000, "-" * 100_000):
        assert len(list(numbers(text))) <= 100_000


def test_a_text_is_a_number_only_as_a_whole() -> None:
    assert value_of(" 42 ") == 42
    assert value_of("42 apples") is value_of("a42") is value_of("4 2") is value_of("") is None
