"""Generates parallel problems: small problems with whole answers, each in seven languages.

A form draws numbers, computes the answer from them, and has a text in every language (`problem_texts`). The kinds take
turns. For each problem a form of its kind is drawn, then the numbers; a duplicate is drawn again. The same seed gives
the same problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import comb, perm
from random import Random
from typing import Any, NamedTuple

from msgspec import Struct

from sessions.errors import UsageError
from sessions.surgery.problem_texts import LANGUAGES, TEXTS
from sessions.texts.parallel import Parallel, ParallelPrompt

Numbers = dict[str, int]
KINDS = ("arithmetic", "combinatorics", "modular", "geometry", "sequence")
#: The draws without a new problem after which a kind counts as exhausted.
_PATIENCE = 60
#: The most problems of one call.
MOST = 1000
#: Primitive right triangles with whole sides.
_TRIANGLES = ((3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25), (20, 21, 29), (12, 35, 37), (9, 40, 41))


class Problem(Struct, frozen=True):
    """A problem: its numbers, its answer, and its text in each language."""

    kind: str
    form: str
    numbers: Numbers
    answer: int
    texts: Mapping[str, str]

    def as_line(self) -> dict[str, Any]:
        """The problem as a line in a file of parallel prompts."""
        return {**self.texts, "kind": self.kind, "answer": self.answer}

    def as_task(self, language: str, number: int) -> dict[str, Any]:
        """The problem in one language as a line in a file of tasks; `number` makes its name unique."""
        name = f"{self.kind}-{number}-{language}"
        return {"prompt": self.texts[language], "answer": self.answer, "language": language, "name": name}


class Form(NamedTuple):
    """A form of problems: how to draw its numbers and compute its answer."""

    kind: str
    name: str
    drawn: Callable[[Random], Numbers]
    answer: Callable[[Numbers], int]


def _shared(rng: Random) -> Numbers:
    bottles, share, taken = rng.randint(2, 9), rng.randint(3, 20), rng.randint(2, 40)
    return {"a": bottles * share + taken, "b": taken, "n": bottles}


def _chosen(rng: Random, most: int) -> Numbers:
    n = rng.randint(4, most)
    return {"n": n, "k": rng.randint(2, min(n - 1, 4))}


def _triangle(rng: Random) -> Numbers:
    a, b, c = rng.choice(_TRIANGLES)
    times = rng.randint(1, 8)
    return {"a": a * times, "b": b * times, "c": c * times}


def _steps(rng: Random) -> Numbers:
    start, step = rng.randint(1, 40), rng.randint(2, 15)
    return {f"s{place}": start + (place - 1) * step for place in range(1, 5)}


def _factors(rng: Random) -> Numbers:
    start, factor = rng.randint(1, 9), rng.randint(2, 5)
    return {f"s{place}": start * factor ** (place - 1) for place in range(1, 5)}


def _in(rng: Random, **ranges: tuple[int, int]) -> Numbers:
    return {name: rng.randint(*bounds) for name, bounds in ranges.items()}


FORMS = (
    Form("arithmetic", "calculation", lambda r: _in(r, a=(3, 30), b=(3, 20), c=(2, 90)),
         lambda v: v["a"] * v["b"] + v["c"]),
    Form("arithmetic", "shop", lambda r: _in(r, a=(3, 30), b=(2, 20), m=(2, 9), n=(2, 9)),
         lambda v: v["a"] * v["m"] + v["b"] * v["n"]),
    Form("arithmetic", "sharing", _shared, lambda v: (v["a"] - v["b"]) // v["n"]),
    Form("combinatorics", "team", lambda r: _chosen(r, 14), lambda v: comb(v["n"], v["k"])),
    Form("combinatorics", "shelf", lambda r: _chosen(r, 9), lambda v: perm(v["n"], v["k"])),
    Form("combinatorics", "codes", lambda r: _in(r, n=(2, 9), k=(2, 5)), lambda v: v["n"] ** v["k"]),
    Form("modular", "remainder", lambda r: _in(r, a=(40, 999), m=(3, 19)), lambda v: v["a"] % v["m"]),
    Form("modular", "power", lambda r: _in(r, a=(2, 12), b=(3, 12), m=(3, 13)), lambda v: pow(v["a"], v["b"], v["m"])),
    Form("modular", "clock", lambda r: _in(r, h=(2, 12), t=(13, 99)), lambda v: (v["h"] + v["t"] - 1) % 12 + 1),
    Form("geometry", "rectangle", lambda r: _in(r, a=(5, 40), b=(3, 30)), lambda v: v["a"] * v["b"]),
    Form("geometry", "triangle", _triangle, lambda v: v["c"]),
    Form("geometry", "angles", lambda r: _in(r, n=(5, 30)), lambda v: (v["n"] - 2) * 180),
    Form("sequence", "steps", _steps, lambda v: 2 * v["s4"] - v["s3"]),
    Form("sequence", "factors", _factors, lambda v: v["s4"] * v["s4"] // v["s3"]),
    Form("sequence", "term", lambda r: _in(r, a=(2, 30), d=(2, 15), n=(5, 40)),
         lambda v: v["a"] + (v["n"] - 1) * v["d"]),
)  # fmt: skip


def problems(count: int, seed: int = 0) -> tuple[Problem, ...]:
    """`count` problems without duplicates; the kinds take turns.

    Raises:
        UsageError: `count` exceeds `MOST`.
    """
    if count > MOST:
        raise UsageError(f"{count:,} problems are too many", f"ask for {MOST:,} at most")
    rng, seen, drawn = Random(seed), set[str](), list[Problem]()
    while len(drawn) < count:
        for kind in KINDS[: count - len(drawn)]:
            problem = _new(kind, rng, seen)
            if problem is not None:  # None for an exhausted kind
                seen.add(problem.texts["en"])
                drawn.append(problem)
    return tuple(drawn)


def built_in(count: int, seed: int = 0) -> Parallel:
    """`problems` as parallel prompts."""
    lines = (
        ParallelPrompt(
            number, tuple(problem.texts[language] for language in LANGUAGES), str(problem.answer), problem.kind
        )
        for number, problem in enumerate(problems(count, seed), 1)
    )
    return Parallel("built-in problems", LANGUAGES, tuple(lines))


def _new(kind: str, rng: Random, seen: set[str]) -> Problem | None:
    forms = [form for form in FORMS if form.kind == kind]
    for _ in range(_PATIENCE):
        form = rng.choice(forms)
        numbers = form.drawn(rng)
        texts = {language: TEXTS[form.name][language].format(**numbers) for language in LANGUAGES}
        if texts["en"] not in seen:
            return Problem(kind, form.name, numbers, form.answer(numbers), texts)
    return None
