"""The line that a call in Python stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from commands.arranging import is_choice
from commands.grammar import find
from commands.verb import Verb, actions_of, key_of
from commands.words import TokenWord
from sessions.errors import UsageError
from sessions.lines import QuotedText, quoted
from sessions.model.units import Unit


def call_line(name: str, /, *args: Any, **kwargs: Any) -> str:
    """The line that calls a verb with Python's arguments.

    Positional arguments fill the verb's words in order, a list filling one that takes many. Keyword
    arguments name options or words; an option may also go by the name of its field.

    Raises:
        UsageError: the verb has no such argument.
    """
    verb, values, given = called(name, args, kwargs)
    plain: list[list[str]] = []
    options: list[str] = []
    for param in verb.params:
        key = key_of(param)
        if isinstance(param, click.Option):
            own = param.name if param.name in given and not is_choice(param) else key
            options += _option_words(param, given.pop(key if key in given else own, None))
            continue
        if key in given:
            taken = [given.pop(key)]
        else:
            taken, values = (values, []) if param.nargs == -1 else (values[:1], values[1:])
        plain.append([_exact(param, text) for value in taken for text in _texts(value)])
    if given or values:
        wrong = next(iter(given), None) or repr(values[0])
        raise UsageError(f"{name} takes no argument {wrong}", f"usage: {verb.usage}")
    return " ".join([str(verb.name), *map(quoted, _without_gaps(verb, plain)), *options])


def called(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Verb, list[Any], dict[str, Any]]:
    """The verb that Python means, and what is left for it: `atlas` with "build" first is `atlas build`."""
    values, given, actions = [*args], dict(kwargs), actions_of(name)
    if actions and given.get("action") in actions:
        return actions[given.pop("action")], values, given
    if values and isinstance(values[0], str) and values[0] in actions:
        return actions[values[0]], values[1:], given
    return find(name), values, given


def _without_gaps(verb: Verb, plain: list[list[str]]) -> list[str]:
    """The words of all arguments in a row. Only the last can be left out; one before it is its default."""
    while plain and not plain[-1]:
        plain.pop()
    arguments = [param for param in verb.params if isinstance(param, click.Argument)]
    values: list[str] = []
    for param, texts in zip(arguments, plain, strict=False):
        if not texts and not isinstance(param.default, str | int | float):
            raise UsageError(f"{verb.name} needs {param.name} too", f"usage: {verb.usage}")
        values += texts or [str(param.default)]
    return values


def _option_words(option: click.Option, value: Any) -> list[str]:
    if value is False and option.secondary_opts:
        return [option.secondary_opts[0]]
    if value is None or (value is False and option.is_flag):
        return []
    if option.is_flag:
        return [option.opts[0]]
    values = value if option.multiple and not isinstance(value, str) else [value]
    return [word for one in values for word in (option.opts[0], quoted(_exact(option, _text(one))))]


def _exact(param: click.Parameter, text: str) -> str:
    """A token of Python is the token that it is, with its space or without."""
    return QuotedText(text) if isinstance(param.type, TokenWord) else text


def _texts(value: Any) -> list[str]:
    """A value as words; neurons in a row are one word, a selection."""
    if value is None:
        return []
    if not isinstance(value, list | tuple | range):
        return [_text(value)]
    if value and all(isinstance(one, Unit) for one in value):
        return [",".join(map(str, value))]
    return [_text(one) for one in value]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, range):
        return f"{value.start}-{value.stop - 1}"
    return f"{value[0]}-{value[1]}" if isinstance(value, tuple) else str(value)
