"""`expect`: a statement about the session that is true, or the command file stops.

A statement is a subject, a comparison and a value. A subject is one of a few that are always there (`text`, `prob`,
`circuit.size`), or a part of a result: `result.…` of the last one, `faithfulness.…` of the last that `faithfulness`
made, `generate[-2].…` of the one before it. How a part is named says `sessions.results.path`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any
from unicodedata import normalize

from msgspec import Struct

from commands.control import FAMILY
from commands.request import Arg, Request
from commands.verb import verb
from commands.words import Statement, Word
from sessions import expressions
from sessions.circuits.circuit import Circuit
from sessions.errors import ExpectationFailed, UsageError
from sessions.procedures.generating import first_token
from sessions.results import Expected
from sessions.results.path import names_in, names_of, part_at, steps_of
from sessions.session import Session

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.events import Value

_NUMERIC: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_TEXTUAL: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, wanted: normalize("NFC", wanted) in normalize("NFC", text),
    "lacks": lambda text, wanted: normalize("NFC", wanted) not in normalize("NFC", text),
    "matches": lambda text, wanted: expressions.first(wanted, text) is not None,
    "==": operator.eq,
    "!=": operator.ne,
}
#: Comparisons of one subject with another, whatever they are.
_BETWEEN: dict[str, Callable[[Any, Any], bool]] = {"same-as": operator.eq, "differs-from": operator.ne}
_SUBJECTS = {
    "text": "the last text; after a comparison the changed one, after a sweep the last",
    "baseline": "the text beside the changed one in the last comparison",
    "prob": 'the probability of a token as the next one: expect prob " Austin" < 0.2',
    "top": "the likeliest next token",
    "circuit.size": "how many neurons the circuit has",
    "circuit.target": "the value of its target: a logit difference, mostly",
    "circuit.conservation": "the share of the target that the attributions miss",
    "circuit.name": "the name it was saved under",
    "evaluate.accuracy": "the share of right replies in the last arm of the last evaluation",
    "evaluate.baseline": "that in its first arm",
    "evaluate.difference": "gain of the last arm over the first, as a share of the tasks",
    "evaluate.p": "the chance of pairs as uneven as those two if neither arm is better",
    "evaluate.perplexity": "the last arm's perplexity on unrelated text, over that of the first",
    "prompt.tokens": "how many tokens the prompt has",
    "model": "the name of the open model",
}
#: What the subjects that are numbers of an evaluation begin with.
_EVALUATED = "evaluate."
#: The last result of whatever verb, and the session's circuit, as subjects.
LAST, CIRCUIT = "result", "circuit"
#: A subject that names a part: whose result, which of those from the end, and the way from there.
_PART = re.compile(r"(?P<head>[a-z][a-z-]*)(?:\[(?P<back>-?\d{1,3})\])?(?P<path>[.\[].*)?", re.DOTALL)


class Subject(Word):
    """What a statement is about. A name that no result of a verb can have is found before anything runs."""

    name = "subject"
    shape = "SUBJECT"

    def read(self, text: str) -> str:
        if text in _SUBJECTS:
            return text
        head, _, path = _parts(text)
        if head == CIRCUIT:
            _check_first(text, path, {Circuit})
        elif head != LAST:
            from commands.grammar import VERBS

            _check_first(text, path, {kind for verb in VERBS.values() if verb.head == head for kind in verb.results()})
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        found = list(_SUBJECTS.items())
        if session is None:
            return found
        before, dot, _ = incomplete.rpartition(".")
        if not dot:
            return [*found, *((f"{head}.", "a part of its last result") for head in session.results)]
        try:
            part = _part(session, before)
        except UsageError:
            return found
        return [*found, *((f"{before}.{name}", "") for name in names_in(part) if f"{before}.{name}" not in _SUBJECTS)]


def _parts(text: str) -> tuple[str, int, str]:
    """The head of a subject that names a part, which of its results is meant, from the end, and the path from there.

    Raises:
        UsageError: it is no such subject.
    """
    from commands.grammar import VERBS

    match = _PART.fullmatch(text)
    heads = (LAST, CIRCUIT, *(verb.head for verb in VERBS.values()))
    if match is None or match["head"] not in heads:
        near = get_close_matches(text, [*_SUBJECTS, *heads], 1)
        hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(_SUBJECTS)}, or a part of a result"
        raise UsageError(f"unknown subject '{text}'", hint)
    back = -1 if match["back"] is None else int(match["back"])
    if back >= 0:
        raise UsageError(f"{match[0]}: results count from the last, which is -1", f"for example: {match['head']}[-2]")
    steps_of(match["path"] or "")
    return match["head"], back, match["path"] or ""


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
    own = {subject.removeprefix("circuit.") for subject in _SUBJECTS if subject.startswith("circuit.")}
    return {name for kind in kinds for name in names_of(kind)} | (own if kinds == {Circuit} else set())


@verb("expect", family=FAMILY, example=("expect circuit.size >= 50", 'expect prob " Austin" > 0.5'))
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

    subject: Annotated[str, Arg(Subject(), f"{', '.join(_SUBJECTS)}, or a part of a result")]
    words: Annotated[tuple[str, ...], Arg(Statement(), "a comparison and a value: contains Austin, >= 50", many=True)]

    def run(self, session: Session) -> Expected:
        words = self.words
        token, words = (words[0], words[1:]) if self.subject == "prob" else (None, words)
        if len(words) < 2:
            raise UsageError(
                f"expect {self.subject} needs a comparison and a value", f"for example: {_example(self.subject)}"
            )
        comparison, wanted = words[0], " ".join(words[1:])
        actual, notes = _probability(session, token) if token is not None else (_actual(session, self.subject), ())
        name = self.subject if token is None else f"{self.subject} {token!r}"
        if actual is None:
            raise ExpectationFailed(f"expected {name} {comparison} {wanted}, but it is not known")
        if not _holds(session, self.subject, actual, comparison, wanted):
            shown = repr(wanted) if isinstance(actual, str) and comparison not in _BETWEEN else wanted
            raise ExpectationFailed(
                f"expected {name} {comparison} {shown}, but it is {_told(actual)}", "; ".join(notes)
            )
        return Expected(statement=f"{name} {comparison} {wanted}", actual=_told(actual), notes=notes)


def _example(subject: str) -> str:
    if subject == "prob":
        return 'expect prob " Austin" < 0.2'
    return f"expect {subject} contains Austin" if subject in ("text", "baseline", "top") else f"expect {subject} >= 50"


def _told(actual: Any) -> str:
    if isinstance(actual, bool):
        return "true" if actual else "false"
    if isinstance(actual, str):
        return repr(actual)
    return f"{actual:.6g}" if isinstance(actual, int | float) else "another"


def _holds(session: Session, subject: str, actual: Any, comparison: str, wanted: str) -> bool:
    if comparison in _BETWEEN:
        return _BETWEEN[comparison](actual, _actual(session, _subject(wanted)))
    if isinstance(actual, bool):
        actual = _told(actual)
    if isinstance(actual, list | tuple) and all(isinstance(each, str) for each in actual):
        actual = "\n".join(actual)
    if not isinstance(actual, str | int | float):
        raise UsageError(f"{subject} is neither a number nor a text", _inside(subject, actual))
    known: dict[str, Callable[[Any, Any], bool]] = _TEXTUAL if isinstance(actual, str) else _NUMERIC
    if comparison not in known:
        raise UsageError(f"'{comparison}' does not compare {subject}", f"one of: {', '.join((*known, *_BETWEEN))}")
    try:
        return known[comparison](actual, wanted if isinstance(actual, str) else _number(session, subject, wanted))
    except expressions.Malformed as error:
        raise UsageError(f"'{wanted}' is not a regular expression: {error}", "see Python's re") from error
    except expressions.TooSlow as error:
        raise UsageError(f"the regular expression '{wanted}' {error}", "make it simpler, or: contains") from error


def _inside(subject: str, part: Any) -> str:
    names = names_in(part)
    return f"name a part of it: {', '.join(f'{subject}.{name}' for name in names[:8])}" if names else ""


def _number(session: Session, subject: str, wanted: str) -> float:
    """What a number is compared with: a number, or a subject that is one."""
    try:
        return float(wanted)
    except ValueError:
        pass
    if "." not in wanted:
        raise UsageError(f"'{wanted}' is not a number", f"for example: {_example(subject)}")
    value = _actual(session, _subject(wanted))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{wanted} is not a number", f"for example: {_example(subject)}")
    return value


def _subject(text: str) -> str:
    return str(Subject().read(text))


def _actual(session: Session, subject: str) -> Any:
    """The value a statement is about.

    Raises:
        UsageError: nothing of the kind is there yet.
    """
    reading = session.last_output
    if subject not in _SUBJECTS:
        return _part(session, subject)
    if subject in ("text", "baseline"):
        text = reading.text if subject == "text" else reading.baseline
        if text is None:
            raise UsageError(f"there is no {subject} yet", "generate one, or ablate a circuit")
        return text
    if subject == "top":
        return _likeliest(session)
    if subject.startswith(_EVALUATED):
        return _score(session, subject)
    if subject == "prompt.tokens":
        return len(session.encoded().ids)
    if subject == "model":
        return session.opened().info.name
    circuit = session.found()
    conservation = circuit.conservation
    if subject == "circuit.conservation" and conservation is None:
        raise UsageError("the circuit has no conservation error", "it was imported; run discover")
    return {
        "circuit.size": len(circuit),
        "circuit.target": circuit.target.value,
        "circuit.conservation": conservation,
        "circuit.name": circuit.name,
    }[subject]


def _part(session: Session, subject: str) -> Any:
    """The part of a result that a subject names."""
    head, back, path = _parts(subject)
    if head == CIRCUIT:
        return part_at(session.found(), path, head)
    past: list[Value] = list(session.results.get(head, ()))
    if len(past) < -back:
        example = "type a command first" if head == LAST else f"type it first: {head}"
        raise UsageError(f"there is no result of {head} yet" if not past else f"{head} has made {len(past)}", example)
    return part_at(past[back], path, head)


def _score(session: Session, subject: str) -> float:
    """A number of the last evaluation."""
    name = subject.removeprefix(_EVALUATED)
    if not session.last_output.scores:
        raise UsageError("there is no evaluation yet", "make one: evaluate tasks.jsonl")
    if name not in session.last_output.scores:
        raise UsageError(f"the last evaluation has no {name}", "it takes two arms: evaluate FILE --arms base,edit")
    return session.last_output.scores[name]


def _likeliest(session: Session) -> str:
    from sessions.model.distribution import chances, likeliest

    logits = _logits(session)
    (best,) = chances(session.opened().tokenizer, logits, likeliest(logits, 1))
    return best.text


def _probability(session: Session, text: str) -> tuple[float, tuple[str, ...]]:
    """The probability of a text's first token as the next one, and remarks on which token that is."""
    from sessions.model.distribution import chances

    logits = _logits(session)
    token, notes = first_token(session, text, "this")
    (chance,) = chances(session.opened().tokenizer, logits, [token.id])
    return chance.probability, notes


def _logits(session: Session) -> Tensor:
    if session.last_output.logits is None:
        raise UsageError("there is no next-token distribution yet", "type top, generate, or ablate a circuit")
    return session.last_output.logits
