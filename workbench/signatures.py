"""A verb's Python signature with types, and its JSON schema; both come from the verb's parameters in the grammar."""

from __future__ import annotations

import inspect
import keyword
from typing import Any

import click

from commands.choices import HeldWord, OneOf, SettingValue, SomeOf
from commands.names import FileName, OutputFile, Prompts
from commands.ranges import Layers, Positions
from commands.request import Argument
from commands.verb import Verb, key_of
from commands.words import Gain, NumberWord, Real, SelectionWord, Statement, SweptWord, Whole


def method_name(verb: str) -> str:
    """The name of a verb's method."""
    return python_name(verb.replace("-", "_").replace(" ", "_"))


def python_name(name: str) -> str:
    """The name, with a `_` appended if it is a Python keyword."""
    return f"{name}_" if keyword.iskeyword(name) else name


class TypeText(str):
    """The text of an annotation, which `help` shows without quotes."""

    __repr__ = str.__str__


def signature(verb: Verb) -> inspect.Signature:
    """The signature of a verb's method: arguments by position, options by keyword. Annotations are texts."""
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    for param in sorted(verb.params, key=lambda param: isinstance(param, click.Option)):
        kind: inspect._ParameterKind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        default = inspect.Parameter.empty if param.required else default_of(verb, param)
        if isinstance(param, click.Option):
            kind = inspect.Parameter.KEYWORD_ONLY
        elif param.nargs == -1:
            kind, default = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.empty
        name, typed = python_name(key_of(param)), TypeText(type_of(param, default))
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=typed))
    results = " | ".join(sorted(kind.__name__ for kind in verb.results()))
    return inspect.Signature(parameters, return_annotation=TypeText(results))


def default_of(verb: Verb, param: click.Parameter) -> Any:
    """A parameter's default as a Python value; None if it has none."""
    if isinstance(param, click.Option) and isinstance(param.flag_value, str):
        return False
    default = param.get_default(click.Context(verb))
    return default if isinstance(default, str | int | float | bool) else None  # click has its own mark for "no default"


#: The Python type of each kind of word, narrower kinds first; `str` for all others.
_TYPES: tuple[tuple[Any, str], ...] = (
    (Whole, "int"),
    ((Real, NumberWord, Gain), "float"),
    (SelectionWord, "str | Unit | Sequence[Unit]"),
    (OutputFile, "str | Path"),
    ((FileName, Prompts), "str | Path | Sequence[str | dict[str, Any]]"),
    ((Layers, Positions), "str | int | tuple[int, int] | range"),
    ((SweptWord, Statement), "str | float | Unit | Sequence[Unit]"),
    (SettingValue, "str | float | bool"),
)


def type_of(param: click.Parameter, default: Any) -> str:
    """The annotation of a method's parameter."""
    if isinstance(param, click.Option) and param.is_flag:
        return "bool" if default is not None else "bool | None"
    kind = param.type
    if isinstance(kind, OneOf) and not isinstance(kind, HeldWord | SomeOf):
        words = ", ".join(f'"{word}"' for word in kind.meanings)
        annotation = f"Literal[{words}]"
    else:
        annotation = next((typed for kinds, typed in _TYPES if isinstance(kind, kinds)), "str")
    if isinstance(param, click.Option) and param.multiple:
        annotation = f"{annotation} | Sequence[{annotation}]"
    return f"{annotation} | None" if default is None else annotation


def schema(verb: Verb) -> dict[str, Any]:
    """The JSON schema of the verb's parameters, named as in its method."""
    properties = {key_of(param): _property(verb, param) for param in verb.params}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": verb.name,
        "description": verb.help or "",
        "type": "object",
        "properties": properties,
        "required": [key_of(param) for param in verb.params if param.required],
        "additionalProperties": False,
    }


def _property(verb: Verb, param: click.Parameter) -> dict[str, Any]:
    many = param.nargs == -1 or (isinstance(param, click.Option) and param.multiple)
    one = {"type": "boolean"} if isinstance(param, click.Option) and param.is_flag else _schema_of(param.type)
    schema: dict[str, Any] = {"type": "array", "items": one} if many else one
    about = param.about if isinstance(param, Argument) else getattr(param, "help", "")
    default = default_of(verb, param)
    return {**schema, "description": about, **({} if default is None or many else {"default": default})}


def _schema_of(kind: Any) -> dict[str, Any]:
    if isinstance(kind, Whole):
        return {"type": "integer", "minimum": kind.least, "maximum": kind.most}
    if isinstance(kind, Real):
        limit = {} if kind.most == float("inf") else {"maximum": kind.most}
        return {"type": "number", "exclusiveMinimum": 0, **limit}
    if isinstance(kind, NumberWord | Gain):
        return {"type": "number"}
    if isinstance(kind, OneOf) and not isinstance(kind, HeldWord | SomeOf):
        return {"type": "string", "enum": [*kind.meanings]}
    return {"type": "string"}
