"""Files of tasks: JSON lines, each a prompt and what a right reply to it is.

    {"prompt": "What is 17 + 25?", "answer": "42"}
    {"prompt": "¿Capital de Francia?", "answer": "París", "language": "es", "name": "paris"}
    {"prompt": "Name a prime below 10.", "answer": "\\\\b[2357]\\\\b", "check": "regex"}
    {"prompt": "Describe water.", "check": [{"kind": "contains", "value": "H2O"}, {"kind": "regex", "value": "liquid"}]}

Without `check`, an answer that is a number is checked as one, and any other must be contained in the reply. The kinds
are number (the last one, or the one that is marked), any-number, regex and contains; of several checks all must hold
(see `checks`). `system`, `seed`, `raw` and `thinking` are as in the verb `prompt`. `language` is the one that the reply
should be in, where the prompt does not show it. What is read is data from strangers: it is parsed and checked, and
nothing else; an error names the line.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any

from msgspec import Struct

from sessions.cancel import look
from sessions.errors import ArtifactError
from sessions.evaluation.checks import KINDS, Check, checked, usual
from sessions.evaluation.languages import LANGUAGES
from sessions.files.json_text import foreign, named, without_mark
from sessions.model.info import Prompt

_EXAMPLE = '{"prompt": "What is 17 + 25?", "answer": "42"}'
_FIELDS = ("prompt", "answer", "check", "system", "seed", "raw", "thinking", "name", "language")


class Task(Struct, frozen=True, kw_only=True):
    """A prompt and the checks that a right reply passes. `line` is its line in the file, from 1; `answer` is "" where
    only the checks say what is right."""

    line: int
    prompt: str
    checks: tuple[Check, ...]
    answer: str = ""
    seed: str = ""
    raw: bool = False
    system: str | None = None
    thinking: bool | None = None
    name: str = ""
    language: str = ""

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name or f"line {self.line}"

    def to_read(self, *, raw: bool = False) -> Prompt:
        """The prompt as the model is to read it."""
        chat = not (self.raw or raw)
        return Prompt(text=self.prompt, seed=self.seed, chat=chat, system=self.system, thinking=self.thinking)


def read_tasks(data: bytes, source: str) -> tuple[Task, ...]:
    """The tasks in a file's bytes, in order; empty lines are skipped.

    Raises:
        ArtifactError: there is none in it, or a line is not one; the message names the line.
    """
    lines = enumerate(without_mark(data).split(b"\n"), 1)
    tasks = tuple(_task(line, number, f"{source}, line {number},") for number, line in lines if line.strip())
    if not tasks:
        raise ArtifactError(f"{source} has no task in it", f"a task a line: {_EXAMPLE}")
    return tasks


def _task(line: bytes, number: int, source: str) -> Task:
    look()
    fields = foreign(line, source)
    if not isinstance(fields, dict):
        raise ArtifactError(f"{source} is {named(fields)}, not a task", f"for example: {_EXAMPLE}")
    unknown = next((name for name in fields if name not in _FIELDS), None)
    if unknown is not None:
        raise ArtifactError(f"{source} has an unknown field '{unknown}'", _nearest(unknown, _FIELDS))
    prompt, seed = _text(fields, "prompt", source), _text(fields, "seed", source)
    if not prompt.strip() and not seed.strip():
        raise ArtifactError(f"{source} has no prompt", f"for example: {_EXAMPLE}")
    answer, language = _written(fields.get("answer", ""), "answer", source), _text(fields, "language", source)
    if language and language not in LANGUAGES:
        raise ArtifactError(
            f"{source} is in '{language}', which cannot be recognised", f"leave it out, or {_of(LANGUAGES)}"
        )
    return Task(
        line=number,
        prompt=prompt,
        checks=tuple(checked(check, source) for check in _checks(fields.get("check"), answer, source)),
        answer=answer,
        seed=seed,
        raw=_switch(fields, "raw", source) or False,
        system=_text(fields, "system", source) if fields.get("system") is not None else None,
        thinking=_switch(fields, "thinking", source),
        name=_text(fields, "name", source),
        language=language,
    )


def _checks(given: Any, answer: str, source: str) -> list[Check]:
    if given is None or isinstance(given, str):
        if not answer.strip():
            raise ArtifactError(f"{source} does not say what is right", f"for example: {_EXAMPLE}")
        return [Check(usual(answer) if given is None else _kind(given, source), answer)]
    if not isinstance(given, list) or not given:
        raise ArtifactError(f"{source} has {named(given)} as its check", f"{_of(KINDS)}, or a list of checks")
    return [_check(check, source) for check in given]


def _check(given: Any, source: str) -> Check:
    if not isinstance(given, dict) or given.keys() != {"kind", "value"}:
        raise ArtifactError(
            f"{source} has a check that is not a kind and a value", 'for example: {"kind": "number", "value": "42"}'
        )
    return Check(_kind(given["kind"], source), _written(given["value"], "value", source))


def _kind(given: Any, source: str) -> str:
    if given not in KINDS:
        raise ArtifactError(f"{source} has an unknown check {given!r}", _nearest(str(given), KINDS))
    return str(given)


def _written(given: Any, field: str, source: str) -> str:
    """A text, or a number as one."""
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number and not isinstance(given, str):
        raise ArtifactError(f"{source} has {named(given)} as its {field}", "a text or a number")
    if isinstance(given, float) and not math.isfinite(given):
        raise ArtifactError(f"{source} has {given} as its {field}", "a number that is finite")
    return _sound(str(given), field, source)


def _text(fields: dict[str, Any], name: str, source: str) -> str:
    given = fields.get(name, "")
    if not isinstance(given, str):
        raise ArtifactError(f"{source} has {named(given)} as its {name}", "a text in quotes")
    return _sound(given, name, source)


def _sound(text: str, field: str, source: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{source} has an unpaired surrogate in its {field}", "save the file as UTF-8") from error
    return text


def _switch(fields: dict[str, Any], name: str, source: str) -> bool | None:
    given = fields.get(name)
    if given is not None and not isinstance(given, bool):
        raise ArtifactError(f"{source} has {named(given)} as its {name}", "true or false")
    return given


def _nearest(word: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(word, known, 1)
    return f"did you mean {near[0]}?" if near else _of(known)


def _of(known: Any) -> str:
    return f"one of: {', '.join(known)}"
