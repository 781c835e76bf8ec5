"""Verbs as tools: how each is described to an agent, and which line a call of one stands for."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from mcp.types import Tool, ToolAnnotations

from commands.calling import call_line
from commands.grammar import VERBS, parse
from commands.verb import Verb, key_of
from commands.words import Prose
from sessions.errors import UsageError
from sessions.results import Cleared, Quit
from workbench.given import takes_list, with_files
from workbench.signatures import method_name, schema

#: The verbs that an agent can call, by the names of their tools. Leaving and clearing a screen are matters of a client.
CALLABLE: dict[str, Verb] = {
    method_name(name): verb for name, verb in VERBS.items() if not verb.results() <= {Cleared, Quit}
}
#: What a list may hold that stands in the place of a file.
_ITEMS = {"anyOf": [{"type": "string"}, {"type": "object"}]}
_SCALAR = str | int | float | bool


def tools() -> list[Tool]:
    """All verbs as tools, in the order of `help`."""
    return [_tool(name, verb) for name, verb in CALLABLE.items()]


def _tool(name: str, verb: Verb) -> Tool:
    described = schema(verb)
    examples = "\n".join(f"  {example}" for example in verb.examples)
    properties: dict[str, Any] = described["properties"]
    for param in verb.params:
        about = properties[key_of(param)]
        if takes_list(param):
            properties[key_of(param)] = _or_list(about)
        elif isinstance(param.type, Prose):  # words of one text
            properties[key_of(param)] = {"type": "string", "description": about["description"]}
    return Tool(
        name=name,
        title=str(verb.name),
        description=f"{verb.help}\n\nAs typed lines:\n{examples}",
        input_schema={key: described[key] for key in ("type", "properties", "required", "additionalProperties")},
        annotations=ToolAnnotations(title=str(verb.name), read_only_hint=verb.kind.reads_only),
    )


def _or_list(described: dict[str, Any]) -> dict[str, Any]:
    """The schema of a file that is read: its path, or a list of what is in it."""
    about = f"{described['description']}; or a list of texts, or of objects with the fields of such a file"
    return {"anyOf": [{"type": "string"}, {"type": "array", "items": _ITEMS}], "description": about}


def line_of_call(name: str, arguments: Mapping[str, Any], home: Path) -> str:
    """The line that a call stands for. A list in the place of a file is written to a file in the home first.

    Raises:
        UsageError: there is no such tool, or it does not take these arguments.
        ArtifactError: the home cannot be written.
    """
    verb = CALLABLE.get(name)
    if verb is None:
        near = get_close_matches(name, CALLABLE, 1)
        raise UsageError(f"there is no tool '{name}'", f"did you mean {near[0]}?" if near else "help lists the verbs")
    params = {key_of(param): param for param in verb.params}
    for key, value in arguments.items():
        if key not in params:
            known = f"its arguments: {', '.join(params)}" if params else "it takes none"
            raise UsageError(f"{name} takes no argument '{key}'", known)
        _check_value(key, params[key], value)
    _, given = with_files(verb, [], dict(arguments), home / "given")
    line = call_line(str(verb.name), **given)
    parse(line)
    return line


def _check_value(key: str, param: click.Parameter, value: Any) -> None:
    """Raise `UsageError` for a value of a shape that the parameter has none of."""
    if isinstance(param, click.Option) and param.is_flag:
        if not isinstance(value, bool | None):
            raise UsageError(f"{key} is true or false, not {value!r}", "leave it out for false")
    elif isinstance(value, list) and not takes_list(param):
        several = param.nargs == -1 or (isinstance(param, click.Option) and param.multiple)
        if not several or not all(isinstance(each, _SCALAR) for each in value):
            raise UsageError(f"{key} takes {'texts or numbers' if several else 'one value'}", "see its description")
    elif not isinstance(value, _SCALAR | list | None):
        raise UsageError(f"{key} takes a text or a number, not an object", "see its description")
