"""Parallel prompts: the same prompts in several versions, a prompt a line of JSON.

    {"en": "What is 3 × 4 + 5?", "zh": "3 × 4 + 5 等于多少？", "kind": "arithmetic", "answer": 17}

The keys name the versions (languages, styles, registers), and are the same in every line; `answer` and `kind` are about
the line and not versions. Files may come from strangers: they are parsed and checked, and nothing in them runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from sessions.errors import ArtifactError
from sessions.files.json_text import foreign, named, without_mark

#: Keys of a line that are not versions.
ABOUT = ("answer", "kind")
EXAMPLE = 'for example: {"en": "What is 3 + 4?", "es": "¿Cuánto es 3 + 4?"}'


class ParallelPrompt(Struct, frozen=True):
    """One prompt: its texts in the order of the versions, and the number of its line in the file."""

    number: int
    texts: tuple[str, ...]
    answer: str = ""
    kind: str = ""


class Parallel(Struct, frozen=True):
    """Prompts in several versions. `source` says in words where they come from."""

    source: str
    versions: tuple[str, ...]
    lines: tuple[ParallelPrompt, ...]


def read_parallel(data: bytes, source: str) -> Parallel:
    """The prompts in a file's bytes, in order; empty lines are skipped.

    Raises:
        ArtifactError: it is not UTF-8, there is no prompt in it, or a line is malformed, has only one version, or has
            others than the first line; the message names the line and the version.
    """
    try:
        text = without_mark(data).decode()
    except UnicodeDecodeError as error:
        at = without_mark(data).count(b"\n", 0, error.start) + 1
        raise ArtifactError(f"{source} is not UTF-8 text: line {at}", "save it as UTF-8") from error
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not numbered:
        raise ArtifactError(f"{source} has no prompt in it", EXAMPLE)
    first, versions = numbered[0][0], tuple(_versions_of(numbered[0][1], f"{source}, line {numbered[0][0]}"))
    return Parallel(source, versions, tuple(_line(*entry, versions, source, first) for entry in numbered))


def written(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Lines of JSON as `read_parallel` reads them, every letter as it is."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _fields(line: str, where: str) -> dict[str, Any]:
    fields = foreign(line.encode(), where)
    if not isinstance(fields, dict):
        raise ArtifactError(f"{where} is {named(fields)}, not an object with versions", EXAMPLE)
    return fields


def _versions_of(line: str, where: str) -> list[str]:
    versions = [key for key in _fields(line, where) if key not in ABOUT]
    if len(versions) < 2:
        there = f"only one version, '{versions[0]}'" if versions else "no version"
        raise ArtifactError(f"{where} has {there}; at least two are needed", EXAMPLE)
    return versions


def _line(number: int, line: str, versions: tuple[str, ...], source: str, first: int) -> ParallelPrompt:
    where = f"{source}, line {number}"
    fields = _fields(line, where)
    missing = next((version for version in versions if version not in fields), None)
    if missing is not None:
        raise ArtifactError(f"{where} has no version '{missing}', which line {first} has", "every line has the same")
    other = next((key for key in fields if key not in (*versions, *ABOUT)), None)
    if other is not None:
        raise ArtifactError(f"{where} has a version '{other}', which line {first} lacks", "every line has the same")
    for version in versions:
        text = fields[version]
        if not isinstance(text, str) or not text.strip():
            problem = "empty" if isinstance(text, str) else f"{named(text)}, not a text"
            raise ArtifactError(f"{where}: '{version}' is {problem}", EXAMPLE)
    answer, kind = ("" if key not in fields else str(fields[key]) for key in ABOUT)
    return ParallelPrompt(number, tuple(fields[version] for version in versions), answer, kind)
