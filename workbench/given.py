"""Python lists in place of files: `wb.contrast(["I am calm"], ["I am angry"])`.

Each list is written to a file in the home, named by the hash of its content, and the line names that file. So the line
in the journal and in saved artifacts can be run again from anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from commands.names import FileName, OutputFile, Prompts
from commands.verb import Verb, key_of
from sessions.errors import UsageError
from sessions.files.disk import write_file


def with_files(
    verb: Verb, args: Sequence[Any], kwargs: dict[str, Any], folder: Path
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call, with each list of prompts, samples or tasks replaced by the path of a file of it.

    Raises:
        UsageError: a list is empty, or an item is neither a text nor a dictionary that JSON can represent.
    """
    places = [param for param in verb.params if isinstance(param, click.Argument) and param.nargs == 1]
    placed = [*zip(args, places, strict=False)]
    named = {key: param for param in verb.params for key in (key_of(param), param.name) if key}
    listed = [_file(value, folder) if _reads(param, value) else value for value, param in placed]
    given = {
        key: _file(value, folder) if key in named and _reads(named[key], value) else value
        for key, value in kwargs.items()
    }
    return [*listed, *args[len(placed) :]], given


def takes_list(param: click.Parameter) -> bool:
    """Whether the parameter is a file that is read, so that a list can stand in its place."""
    return isinstance(param.type, FileName | Prompts) and not isinstance(param.type, OutputFile)


def _reads(param: click.Parameter, value: Any) -> bool:
    return takes_list(param) and isinstance(value, list | tuple)


def _file(items: Iterable[Any], folder: Path) -> Path:
    """Write a file with one item per line. A text alone is a prompt."""
    lines = []
    for item in items:
        fields = {"prompt": item} if isinstance(item, str) else item
        if not isinstance(fields, dict):
            raise UsageError(
                f"a list in place of a file contains {ascii(item)[:40]}",
                'give texts, or dictionaries with the fields of such a file: {"prompt": "…", "target": " …"}',
            )
        try:
            lines.append(json.dumps(fields, ensure_ascii=False, allow_nan=False).encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(
                f"JSON cannot represent {ascii(item)[:40]}: {error}", "give texts and finite numbers"
            ) from error
    if not lines:
        raise UsageError("a list in place of a file is empty", 'give at least one: ["I feel wonderful"]')
    data = b"\n".join(lines) + b"\n"
    path = folder / f"{sha256(data).hexdigest()[:16]}.jsonl"
    if not path.exists():
        write_file(path, data, force=True, what=f"'{path}'")
    return path
