"""What `expect` compares: the value that a subject names, and whether a comparison with it holds."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from sessions import expressions
from sessions.errors import UsageError
from sessions.procedures.generating import first_token
from sessions.results.path import names_in, part_at
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
BETWEEN: dict[str, Callable[[Any, Any], bool]] = {"same-as": operator.eq, "differs-from": operator.ne}
SUBJECTS = {
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


def parts_of(text: str) -> tuple[str, int, str] | None:
    """The head of a subject that names a part, which of its results is meant, from the end, and the path from there;
    None where the text has another form."""
    match = _PART.fullmatch(text)
    if match is None:
        return None
    return match["head"], -1 if match["back"] is None else int(match["back"]), match["path"] or ""


def example(subject: str) -> str:
    """A statement about a subject, for a hint."""
    if subject == "prob":
        return 'expect prob " Austin" < 0.2'
    return f"expect {subject} contains Austin" if subject in ("text", "baseline", "top") else f"expect {subject} >= 50"


def in_words(actual: Any) -> str:
    """A value in words."""
    if isinstance(actual, bool):
        return "true" if actual else "false"
    if isinstance(actual, str):
        return repr(actual)
    return f"{actual:.6g}" if isinstance(actual, int | float) else "another"


def holds(
    session: Session, subject: str, actual: Any, comparison: str, wanted: str, read: Callable[[str], str]
) -> bool:
    """Whether a comparison holds; `read` checks another subject that it is with.

    Raises:
        UsageError: the subject is not compared like that, or with such a value.
    """
    if comparison in BETWEEN:
        return BETWEEN[comparison](actual, value_of(session, read(wanted)))
    if isinstance(actual, bool):
        actual = in_words(actual)
    if isinstance(actual, list | tuple) and all(isinstance(item, str) for item in actual):
        actual = "\n".join(actual)
    if not isinstance(actual, str | int | float):
        raise UsageError(f"{subject} is neither a number nor a text", _inside(subject, actual))
    known: dict[str, Callable[[Any, Any], bool]] = _TEXTUAL if isinstance(actual, str) else _NUMERIC
    if comparison not in known:
        raise UsageError(f"'{comparison}' does not compare {subject}", f"one of: {', '.join((*known, *BETWEEN))}")
    try:
        return known[comparison](actual, wanted if isinstance(actual, str) else _number(session, subject, wanted, read))
    except expressions.Malformed as error:
        raise UsageError(f"'{wanted}' is not a regular expression: {error}", "see Python's re") from error
    except expressions.TooSlow as error:
        raise UsageError(f"the regular expression '{wanted}' {error}", "make it simpler, or: contains") from error


def _inside(subject: str, part: Any) -> str:
    names = names_in(part)
    return f"name a part of it: {', '.join(f'{subject}.{name}' for name in names[:8])}" if names else ""


def _number(session: Session, subject: str, wanted: str, read: Callable[[str], str]) -> float:
    """What a number is compared with: a number, or a subject that is one."""
    try:
        return float(wanted)
    except ValueError:
        pass
    if "." not in wanted:
        raise UsageError(f"'{wanted}' is not a number", f"for example: {example(subject)}")
    value = value_of(session, read(wanted))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{wanted} is not a number", f"for example: {example(subject)}")
    return value


def value_of(session: Session, subject: str) -> Any:
    """The value a statement is about.

    Raises:
        UsageError: nothing of the kind is there yet.
    """
    reading = session.last_output
    if subject not in SUBJECTS:
        return part_of(session, subject)
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


def part_of(session: Session, subject: str) -> Any:
    """The part of a result that a subject names."""
    head, back, path = parts_of(subject) or ("", -1, "")
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


def probability_of(session: Session, text: str) -> tuple[float, tuple[str, ...]]:
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
