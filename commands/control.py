"""The session itself: `info`, `set`, `expect`, `run`, `help`, `quit`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from msgspec import to_builtins

from commands.choices import OneOf, SettingName, SettingValue
from commands.names import FileName
from commands.prompting import first_token
from commands.verb import argument, option, verb
from commands.words import Statement, VerbName, Word
from sessions import expressions
from sessions.errors import ExpectationFailed, UsageError
from sessions.events import Steps
from sessions.journal import versions
from sessions.results import Expected, Help, Info, Quit, Ran, SettingsShown
from sessions.session import Session
from sessions.settings import changed, describe

if TYPE_CHECKING:
    from torch import Tensor

FAMILY = "The session"


@verb("info", family=FAMILY, example="info")
def info(session: Session) -> Info:
    """Show what the session holds: model, prompt, circuit, settings, home folder, versions."""
    return Info(
        state=session.state(),
        model=None if session.model is None else session.model.info,
        settings=_shown(session),
        home=str(session.home),
        versions=versions(),
    )


@verb("set", family=FAMILY, example="set max_tokens 32")
@argument("name", help="a setting; without it, show them all", type=SettingName(), required=False)
@argument("value", help="its new value", type=SettingValue(), required=False)
def set_(session: Session, name: str | None, value: str | None) -> SettingsShown:
    """Show the settings, or change one. A flag on a command line overrides a setting once."""
    if name is not None and value is None:
        raise UsageError(f"set {name} needs a value", f"it is {_shown(session)[name]} now: {describe()[name]}")
    if name is not None and value is not None:
        session.settings = changed(session.settings, name, value)
    return SettingsShown(settings=_shown(session), described=describe(), changed=name or "")


def _shown(session: Session) -> dict[str, str]:
    values = to_builtins(session.settings)
    return {
        name: ("on" if value else "off") if isinstance(value, bool) else str(value) for name, value in values.items()
    }


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
_SUBJECTS = {
    "text": "the last text; after a comparison the changed one, after a sweep the last",
    "baseline": "the text beside the changed one in the last comparison",
    "prob": 'the probability of a token as the next one: expect prob " Austin" < 0.2',
    "top": "the likeliest next token",
    "circuit.size": "how many neurons the circuit has",
    "circuit.target": "the value of its target: a logit difference, mostly",
    "circuit.conservation": "how much of the target the attribution failed to account for",
    "circuit.name": "the name it was saved under",
    "evaluate.accuracy": "the share of right replies in the last arm of the last evaluation",
    "evaluate.baseline": "that in its first arm",
    "evaluate.difference": "what the last arm gained over the first, as a share of the tasks",
    "evaluate.p": "the chance of pairs as uneven as those two if neither arm is better",
    "evaluate.perplexity": "the last arm's perplexity on unrelated text, over that of the first",
    "prompt.tokens": "how many tokens the prompt has",
    "model": "the name of the open model",
}


#: What the subjects that are numbers of an evaluation begin with.
_EVALUATED = "evaluate."


@verb("expect", family=FAMILY, example="expect circuit.size >= 50")
@argument("subject", help=f"one of: {', '.join(_SUBJECTS)}", type=OneOf("subject", _SUBJECTS))
@argument("words", help="a comparison and a value: contains Austin, >= 50", type=Statement(), nargs=-1, required=True)
def expect(session: Session, subject: str, words: tuple[str, ...]) -> Expected:
    """Check a statement about the session; a command file stops where one is false.

    text, baseline, top, circuit.name and model take contains, lacks, matches (a regular expression),
    == and !=. For contains and lacks an accent may be part of a letter or follow it (Unicode's NFC). The others are
    numbers and take < <= > >= == !=. prob takes a token first.
    """
    token, words = (words[0], words[1:]) if subject == "prob" else (None, words)
    if len(words) < 2:
        raise UsageError(f"expect {subject} needs a comparison and a value", f"for example: {_example(subject)}")
    comparison, wanted = words[0], " ".join(words[1:])
    actual, notes = _probability(session, token) if token is not None else (_actual(session, subject), ())
    name = subject if token is None else f"{subject} {token!r}"
    if not _holds(subject, actual, comparison, wanted):
        shown = repr(wanted) if isinstance(actual, str) else wanted
        raise ExpectationFailed(f"expected {name} {comparison} {shown}, but it is {_told(actual)}", "; ".join(notes))
    return Expected(statement=f"{name} {comparison} {wanted}", actual=_told(actual), notes=notes)


def _example(subject: str) -> str:
    if subject == "prob":
        return 'expect prob " Austin" < 0.2'
    return f"expect {subject} contains Austin" if subject in ("text", "baseline", "top") else f"expect {subject} >= 50"


def _told(actual: str | float) -> str:
    return repr(actual) if isinstance(actual, str) else f"{actual:.6g}"


def _holds(subject: str, actual: str | float, comparison: str, wanted: str) -> bool:
    known: dict[str, Callable[[Any, Any], bool]] = _TEXTUAL if isinstance(actual, str) else _NUMERIC
    if comparison not in known:
        raise UsageError(f"'{comparison}' does not compare {subject}", f"one of: {', '.join(known)}")
    try:
        return known[comparison](actual, wanted if isinstance(actual, str) else float(wanted))
    except expressions.Malformed as error:
        raise UsageError(f"'{wanted}' is not a regular expression: {error}", "see Python's re") from error
    except expressions.TooSlow as error:
        raise UsageError(f"the regular expression '{wanted}' {error}", "make it simpler, or: contains") from error
    except ValueError:
        raise UsageError(f"'{wanted}' is not a number", f"for example: {_example(subject)}") from None


def _actual(session: Session, subject: str) -> str | float:
    """The value a statement is about.

    Raises:
        UsageError: nothing of the kind is there yet.
    """
    reading = session.reading
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
        raise UsageError("the circuit does not say what it conserves", "it was imported; discover it again")
    return {
        "circuit.size": len(circuit),
        "circuit.target": circuit.target.value,
        "circuit.conservation": conservation,
        "circuit.name": circuit.name,
    }[subject]  # type: ignore[return-value]


def _score(session: Session, subject: str) -> float:
    """A number of the last evaluation."""
    name = subject.removeprefix(_EVALUATED)
    if not session.reading.scores:
        raise UsageError("there is no evaluation yet", "make one: evaluate tasks.jsonl")
    if name not in session.reading.scores:
        raise UsageError(f"the last evaluation has no {name}", "it takes two arms: evaluate FILE --arms base,edit")
    return session.reading.scores[name]


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
    if session.reading.logits is None:
        raise UsageError("there is no next-token distribution yet", "type top, generate, or ablate a circuit")
    return session.reading.logits


@verb("run", family=FAMILY, example="run capital.wb")
@argument("path", help="a command file (.wb)", type=FileName(".wb"))
@option("--set", "values", type=Word(), multiple=True, metavar="NAME=VALUE", help="fill ${NAME} in the file")
@option("--trust", is_flag=True, help="let the file, and those it runs, open models with --trust-remote-code")
def run(session: Session, path: Path, values: tuple[str, ...], trust: bool) -> Steps[Ran]:
    """Run a command file in this session: one command a line, # comments, \\ continues a line.

    A comment stands behind a blank, and in the text of prompt, seed and say has a blank behind its # too: the #1 of
    prompt Who is #1? is text.

    The first line that fails stops it. A line with --trust-remote-code is refused unless you say --trust.
    """
    from commands import script

    return (yield from script.play(session, path, script.assignments(values), trust=trust))


@verb("help", family=FAMILY, example="help discover")
@argument("name", help="a verb; without it, list them all", type=VerbName(), required=False)
def help_(session: Session, name: str | None) -> Help:
    """List the verbs, or explain one."""
    from commands.grammar import VERBS, find

    if name is not None:
        chosen = find(name)
        return Help(verb=str(chosen.name), text=chosen.help_text(), example=chosen.example)
    families: dict[str, list[tuple[str, str]]] = {}
    for known in VERBS.values():
        families.setdefault(known.family, []).append((str(known.name), known.summary))
    return Help(families=tuple((family, tuple(rows)) for family, rows in families.items()))


@verb("quit", family=FAMILY, example="quit")
def quit_(session: Session) -> Quit:
    """Leave. What was saved stays; the model is let go."""
    return Quit()
