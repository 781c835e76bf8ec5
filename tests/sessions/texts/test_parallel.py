"""Parallel prompts are read line by line, and the problems that are made have the answers they say they have."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.errors import ArtifactError, UsageError
from sessions.evaluation.tasks import read_tasks
from sessions.surgery.problem_texts import LANGUAGES, TEXTS
from sessions.surgery.problems import FORMS, KINDS, MOST, built_in, problems
from sessions.texts.parallel import read_parallel, written

# ---- the problems, worked out once more from their English


def _choices(n: int, k: int) -> int:
    return sum(1 for _ in itertools.combinations(range(n), k))


def _orders(n: int, k: int) -> int:
    return sum(1 for _ in itertools.permutations(range(n), k))


def _codes(n: int, k: int) -> int:
    return sum(1 for _ in itertools.product(range(n), repeat=k))


def _remainder(a: int, m: int) -> int:
    while a >= m:
        a -= m
    return a


def _power(a: int, b: int, m: int) -> int:
    value = 1
    for _ in range(b):
        value = _remainder(value * a, m)
    return value


def _hour(h: int, t: int) -> int:
    for _ in range(t):
        h = 1 if h == 12 else h + 1
    return h


def _hypotenuse(a: int, b: int) -> int:
    return next(c for c in range(a + b) if c * c == a * a + b * b)


def _angles(n: int) -> int:
    return round(n * (180 - 360 / n))


def _next(a: int, b: int, c: int, d: int) -> int:
    if b - a == c - b == d - c:
        return d + (d - c)
    assert b / a == c / b == d / c
    return d * (d // c)


def _term(a: int, d: int, n: int) -> int:
    return list(itertools.islice(itertools.count(a, d), n))[-1]


#: What is asked, in English, and how one who reads it works it out.
READ: list[tuple[str, Callable[..., int]]] = [
    (r"What is (\d+) × (\d+) \+ (\d+)\?", lambda a, b, c: sum([a] * b) + c),
    (
        r"A notebook costs (\d+) coins and a pen costs (\d+) coins\. How many coins do (\d+) notebooks .* (\d+) pens.*",
        lambda a, b, m, n: sum([a] * m + [b] * n),
    ),
    (
        r"A tank holds (\d+) litres of water\. First (\d+) litres are taken out, .* into (\d+) bottles\..*",
        lambda a, b, n: next(each for each in range(a) if each * n == a - b),
    ),
    (r"In how many ways can a team of (\d+) people be chosen from (\d+) people\?", lambda k, n: _choices(n, k)),
    (r"In how many ways can (\d+) of (\d+) different books be lined up on a shelf\?", lambda k, n: _orders(n, k)),
    (
        r"How many codes of length (\d+) can be made from (\d+) different letters\? Letters may repeat\.",
        lambda k, n: _codes(n, k),
    ),
    (r"What is the remainder when (\d+) is divided by (\d+)\?", _remainder),
    (r"What is the remainder when (\d+) to the power (\d+) is divided by (\d+)\?", _power),
    (r"A twelve-hour clock shows (\d+) o'clock\. What hour does it show (\d+) hours later\?", _hour),
    (
        r"A rectangle is (\d+) cm long and (\d+) cm wide\. What is its area in square centimetres\?",
        lambda a, b: sum(1 for _ in itertools.product(range(a), range(b))),
    ),
    (r"The two legs of a right triangle are (\d+) cm and (\d+) cm long\. How long is its hypotenuse.*", _hypotenuse),
    (r"What is the sum of the interior angles of a polygon with (\d+) sides, in degrees\?", _angles),
    (r"The sequence (\d+), (\d+), (\d+), (\d+) goes on in the same way\. What is the next number\?", _next),
    (
        r"A sequence begins with (\d+), and every term is (\d+) more than .*\. What is term number (\d+)\?",
        _term,
    ),
]


def worked_out(text: str) -> int:
    """The answer to a problem, from its English alone."""
    found = [(match, rule) for pattern, rule in READ if (match := re.fullmatch(pattern, text))]
    ((match, rule),) = found
    return rule(*map(int, match.groups()))


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_every_answer_is_that_of_the_english_text_worked_out_by_itself(seed: int) -> None:
    made = problems(250, seed)
    assert {problem.form for problem in made} == {form.name for form in FORMS}
    for problem in made:
        assert problem.answer == worked_out(problem.texts["en"]), problem.texts["en"]


def test_a_form_says_the_same_numbers_in_every_language_and_says_it_differently() -> None:
    assert set(TEXTS) == {form.name for form in FORMS}
    for texts in TEXTS.values():
        assert set(texts) == set(LANGUAGES) and len(set(texts.values())) == len(LANGUAGES)
        places = {tuple(sorted(name for _, name, _, _ in Formatter().parse(text) if name)) for text in texts.values()}
        assert len(places) == 1 and len(set(*places)) == len(*places)


@given(st.integers(1, 80), st.integers(0, 10**9))
def test_the_same_seed_gives_the_same_problems_and_none_twice(count: int, seed: int) -> None:
    made = problems(count, seed)
    assert made == problems(count, seed) == problems(count + 5, seed)[:count]
    assert len({problem.texts["en"] for problem in made}) == len(made) == count
    kinds = [sum(problem.kind == kind for problem in made) for kind in KINDS]
    assert max(kinds) - min(kinds) <= 1


def test_another_seed_gives_others_and_too_many_are_refused() -> None:
    assert problems(20, 0) != problems(20, 1)
    assert len(problems(MOST, 2)) == MOST
    with pytest.raises(UsageError, match="too many"):
        problems(MOST + 1)


def test_written_parallel_problems_are_read_back_and_are_tasks_as_well() -> None:
    made = problems(12, 4)
    read = read_parallel(written(problem.as_line() for problem in made), "problems.jsonl")
    assert read.versions == LANGUAGES
    assert read.lines == built_in(12, 4).lines
    tasks = read_tasks(written(p.as_task(code, n) for n, p in enumerate(made) for code in ("en", "zh")), "tasks.jsonl")
    assert [task.answer for task in tasks] == [str(problem.answer) for problem in made for _ in range(2)]
    assert {task.language for task in tasks} == {"en", "zh"} and {task.checks[0].kind for task in tasks} == {"number"}


# ---- files


def test_versions_have_names_of_ones_own_and_answers_stand_beside_them() -> None:
    lines = ['{"plain": "hi", "polite": "good day", "answer": 3}', "", '{"polite": "sir", "plain": "you"}\r']
    read = read_parallel("\n".join(lines).encode(), "f")
    assert read.versions == ("plain", "polite")
    assert [(line.number, line.texts, line.answer) for line in read.lines] == [
        (1, ("hi", "good day"), "3"),
        (3, ("you", "sir"), ""),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "f has no prompt in it"),
        (b"\n \n", "f has no prompt in it"),
        (b'{"a": "x"}', "f, line 1 has only one version, 'a'"),
        (b'{"answer": 3}', "f, line 1 has no version"),
        (b'{"a": "x", "b": "y"}\n{"a": "x"}', "f, line 2 has no version 'b', which line 1 has"),
        (b'{"a": "x", "b": "y"}\n\n{"a": "x", "b": "z", "c": "z"}', "f, line 3 has a version 'c', which line 1 lacks"),
        (b'{"a": "x", "b": "y"}\n{"a": "x", "b": 4}', "f, line 2: 'b' is a number, not a text"),
        (b'{"a": "x", "b": " "}', "f, line 1: 'b' is empty"),
        (b'{"a": "x", "a": "y"}', "f, line 1 has the key 'a' twice"),
        (b'["x", "y"]', "f, line 1 is a list, not an object"),
        (b'{"a": "x", ', "f, line 1 is malformed"),
        (b'{"a": "x", "b": "y"}\n{"a": "\xff", "b": "y"}', "f is not UTF-8 text: line 2"),
    ],
)
def test_an_error_in_a_parallel_file_names_its_line(text: bytes, said: str) -> None:
    with pytest.raises(ArtifactError, match=re.escape(said)):
        read_parallel(text, "f")


@given(st.binary(max_size=60))
def test_any_bytes_are_prompts_or_an_error(data: bytes) -> None:
    try:
        assert len(read_parallel(data, "f").versions) > 1
    except ArtifactError as error:
        assert error.message.startswith("f")


def test_letters_are_written_as_they_are() -> None:
    line = written([problems(1)[0].as_line()]).decode()
    assert "笔记本" in line and json.loads(line)["kind"] == "arithmetic"
