"""`verb`: how a function becomes a command of the grammar.

A verb takes the session and its parameters, yields events while it works and returns a result. Its
docstring is its help, its first line the summary, and `example` a line that runs as it stands once a
model, a prompt and a circuit are there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

import click
from msgspec import Struct

from sessions.events import Steps

Function = Callable[..., Any]


class Verb(click.Command):
    """One verb of the grammar, with the function behind it, its family in `help`, and its example."""

    def __init__(self, name: str, function: Function, family: str, example: str) -> None:
        params = list(reversed(getattr(function, "__click_params__", [])))
        super().__init__(name, params=params, help=inspect.getdoc(function), add_help_option=False)
        self.function = function
        self.family = family
        self.example = example

    @property
    def summary(self) -> str:
        """The first line of its help."""
        return (self.help or "").partition("\n")[0].rstrip(".")

    @property
    def usage(self) -> str:
        """The shape of a call: `discover [TARGET] [options]`."""
        words = [_shape(param) for param in self.params if isinstance(param, click.Argument)]
        options = ["[options]"] if len(words) < len(self.params) else []
        return " ".join([self.name or "", *words, *options])

    def steps(self, session: Any, params: dict[str, Any]) -> Steps[Any]:
        """Run it: a generator of events that returns a `Value`."""
        outcome = self.function(session, **params)
        if inspect.isgenerator(outcome):
            outcome = yield from outcome
        return outcome

    def results(self) -> set[type[Struct]]:
        """The kinds of results that it can have, as its function says."""
        told = SimpleNamespace(__annotations__={"return": self.function.__annotations__["return"]})
        kind = get_type_hints(told, globalns=self.function.__globals__)["return"]
        if get_origin(kind) is Generator:  # of events, which returns the result
            kind = get_args(kind)[-1]
        return set(get_args(kind) or (kind,))

    def help_text(self) -> str:
        """Its help in full: usage, what it does, arguments and options."""
        rows = [(_left(param), _right(param)) for param in self.params]
        width = max((len(left) for left, _ in rows), default=0)
        lines = [f"{self.usage}", "", self.help or ""]
        if rows:
            lines += ["", *(f"  {left:<{width}}  {right}".rstrip() for left, right in rows)]
        return "\n".join(lines)


def verb(name: str, *, family: str, example: str) -> Callable[[Function], Verb]:
    """Make a verb of the function below; `click.argument` and `option` stand between them."""
    return lambda function: Verb(name, function, family, example)


def option(*names: str, help: str, **attributes: Any) -> Callable[[Function], Function]:
    """An option of a verb; every option says what it is for."""
    return click.option(*names, help=help, **attributes)


class Argument(click.Argument):
    """A positional word of a verb, with what it is for."""

    def __init__(self, *args: Any, about: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.about = about


def argument(name: str, *, help: str, **attributes: Any) -> Callable[[Function], Function]:
    """A positional word of a verb."""
    return click.argument(name, cls=Argument, about=help, **attributes)


def key_of(param: click.Parameter) -> str:
    """What a parameter is called in Python: an option by what is typed, an argument by its name."""
    if isinstance(param, click.Option):
        return param.opts[0].removeprefix("--").replace("-", "_")
    return param.name or ""


def _shape(param: click.Parameter) -> str:
    if param.metavar and isinstance(param, click.Argument):
        return param.metavar
    if isinstance(param, click.Option):
        names = "/".join([*param.opts, *param.secondary_opts])
        return f"[{names}]" if param.is_flag else f"[{names} {_metavar(param)}]"
    name = _metavar(param) + ("…" if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _metavar(param: click.Parameter) -> str:
    if param.metavar:
        return param.metavar
    return (param.name or "").upper() if isinstance(param, click.Argument) else getattr(param.type, "shape", "TEXT")


def _left(param: click.Parameter) -> str:
    return _shape(param).removeprefix("[").removesuffix("]") if isinstance(param, click.Option) else _shape(param)


def _right(param: click.Parameter) -> str:
    if isinstance(param, Argument):
        return param.about
    assert isinstance(param, click.Option)
    shown = param.help or ""
    return (
        f"{shown} (default {param.default})" if isinstance(param.default, str | float) and not param.is_flag else shown
    )
