"""`expect`: a statement about the session that is true, or the command file stops.

A statement is a subject, a comparison and a value. A subject is one of a few that are always there (`text`, `prob`,
`circuit.size`), or a part of a result: `result.…` of the last one, `faithfulness.…` of the last that `faithfulness`
made, `generate[-2].…` of the one before it. How a part is named says `sessions.results.path`.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

from msgspec import Struct

from commands.control import FAMILY
from commands.request import Arg, Request
from commands.verb import verb
from commands.words import Statement, Word
from sessions.circuits.circuit import Circuit
from sessions.errors import ExpectationFailed, UsageError
from sessions.procedures.expecting import (
    BETWEEN,
    CIRCUIT,
    LAST,
    SUBJECTS,
    example,
    holds,
    in_words,
    part_of,
    parts_of,
    probability_of,
    value_of,
)
from sessions.results import Expected
from sessions.results.path import names_in, names_of, steps_of
from sessions.session import Session


class Subject(Word):
    """What a statement is about. A name that no result of a verb can have is found before anything runs."""

    name = "subject"
    shape = "SUBJECT"

    def read(self, text: str) -> str:
        if text in SUBJECTS:
            return text
        head, _, path = _parts(text)
        if head == CIRCUIT:
            _check_first(text, path, {Circuit})
        elif head != LAST:
            from commands.grammar import VERBS

            _check_first(text, path, {kind for verb in VERBS.values() if verb.head == head for kind in verb.results()})
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        choices = list(SUBJECTS.items())
        if session is None:
            return choices
        before, dot, _ = incomplete.rpartition(".")
        if not dot:
            return [*choices, *((f"{head}.", "a part of its last result") for head in session.results)]
        try:
            part = part_of(session, before)
        except UsageError:
            return choices
        return [*choices, *((f"{before}.{name}", "") for name in names_in(part) if f"{before}.{name}" not in SUBJECTS)]


def _parts(text: str) -> tuple[str, int, str]:
    """The head of a subject that names a part, which of its results is meant, from the end, and the path from there.

    Raises:
        UsageError: it is no such subject.
    """
    from commands.grammar import VERBS

    parts = parts_of(text)
    heads = (LAST, CIRCUIT, *(verb.head for verb in VERBS.values()))
    if parts is None or parts[0] not in heads:
        near = get_close_matches(text, [*SUBJECTS, *heads], 1)
        hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(SUBJECTS)}, or a part of a result"
        raise UsageError(f"unknown subject '{text}'", hint)
    head, back, path = parts
    if back >= 0:
        raise UsageError(f"{text}: results count from the last, which is -1", f"for example: {head}[-2]")
    steps_of(path)
    return parts


def _check_first(text: str, path: str, kinds: set[type[Struct]]) -> None:
    """Raise where the first name of a path is none of these results."""
    steps = steps_of(path)
    if not steps:
        raise UsageError(f"'{text}' names no part of the result", f"for example: {text}.{min(_names(kinds))}")
    name, names = steps[0]["name"], _names(kinds)
    if name is None or steps[0]["row"] is not None or name in names:
        return
    near = get_close_matches(name, names, 1)
    head = text[: -len(path)]
    hint = f"did you mean {head}.{near[0]}?" if near else f"it has: {', '.join(sorted(names))}"
    raise UsageError(f"unknown subject '{text}': {head} has no '{name}'", hint)


def _names(kinds: set[type[Struct]]) -> set[str]:
    own = {subject.removeprefix("circuit.") for subject in SUBJECTS if subject.startswith("circuit.")}
    return {name for kind in kinds for name in names_of(kind)} | (own if kinds == {Circuit} else set())


@verb(
    "expect",
    family=FAMILY,
    synonyms=("assert", "check"),
    example=("expect circuit.size >= 50", 'expect prob " Austin" > 0.5'),
)
class Expect(Request, frozen=True):
    """Check a statement about the session; a command file stops where one is false.

    text, baseline, top, circuit.name and model take contains, lacks, matches (a regular expression), == and !=. For
    contains and lacks an accent may be part of a letter or follow it (Unicode's NFC). The others are numbers and
    take < <= > >= == !=. prob takes a token first.

    Any number or text of a result is a subject too, by its name in JSON: result.… of the last command, or of a
    verb's last, ablate.arms[1].text, verify.rows[0].effect, faithfulness.kept@50, rounds.kept@lessons-3,
    evaluate.accuracy@base, rounds.rows.count. rows is a result's main table, NAME@ROW a value in one of its rows,
    and generate[-2] the result before the last. The error for an unknown name lists the names there are. Numbers
    may be compared with another subject: expect rounds.rows[-1].kept < rounds.rows[1].kept; same-as and
    differs-from compare any two subjects: expect generate[-1].text same-as generate[-2].text.
    """

    subject: Annotated[str, Arg(Subject(), f"{', '.join(SUBJECTS)}, or a part of a result")]
    words: Annotated[tuple[str, ...], Arg(Statement(), "a comparison and a value: contains Austin, >= 50", many=True)]

    def run(self, session: Session) -> Expected:
        words = self.words
        token, words = (words[0], words[1:]) if self.subject == "prob" else (None, words)
        if len(words) < 2:
            raise UsageError(
                f"expect {self.subject} needs a comparison and a value", f"for example: {example(self.subject)}"
            )
        comparison, wanted = words[0], " ".join(words[1:])
        actual, notes = probability_of(session, token) if token is not None else (value_of(session, self.subject), ())
        name = self.subject if token is None else f"{self.subject} {token!r}"
        if actual is None:
            raise ExpectationFailed(f"expected {name} {comparison} {wanted}, but it is not known")
        if not holds(session, self.subject, actual, comparison, wanted, Subject().read):
            shown = repr(wanted) if isinstance(actual, str) and comparison not in BETWEEN else wanted
            raise ExpectationFailed(
                f"expected {name} {comparison} {shown}, but it is {in_words(actual)}", "; ".join(notes)
            )
        return Expected(statement=f"{name} {comparison} {wanted}", actual=in_words(actual), notes=notes)
