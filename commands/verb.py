"""`verb`: how a declaration becomes a command of the grammar, and the registry of all verbs.

A verb is a struct (see `request`): its docstring is the help, its first line the summary, its fields are the
parameters, and its `run` takes the session, yields events while it works and returns a result. `example` is a line,
or several, that runs as it stands once a model, a prompt and a circuit are there.

A declaration also says how the verb is found: `also` are other names that mean it, `synonyms` are words that people
type for it and that are only suggested, and `needs` is what its first example needs to be there (`needs.NEEDS`).

A name of two words is a sub-verb: `atlas build`, `atlas show`. Each is a verb of its own with its own parameters. One
of those that share a first word may be the `default`, which that word alone means.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import click
from msgspec import Struct

from commands.needs import NEEDS
from commands.request import Argument, Request, params_of
from commands.words import Prose
from sessions.events import Steps

Declared = TypeVar("Declared", bound=Request)

#: Every verb by its name. A module's verbs are here as soon as it is imported.
VERBS: dict[str, Verb] = {}
#: Verbs that take words as they come for a text.
TEXTS: set[str] = set()
#: The sub-verbs that a first word alone means.
DEFAULTS: dict[str, Verb] = {}
#: The verbs by their other names.
ALSO: dict[str, Verb] = {}


class Verb(click.Command):
    """One verb of the grammar: what it was declared by, its family in `help`, its examples, and how it is found."""

    def __init__(
        self,
        name: str,
        kind: type[Request],
        family: str,
        *examples: str,
        also: tuple[str, ...] = (),
        synonyms: tuple[str, ...] = (),
        needs: tuple[str, ...] = (),
    ) -> None:
        self.kind = kind
        self.module = kind.__module__
        super().__init__(name, params=params_of(kind), help=inspect.getdoc(kind), add_help_option=False)
        self.family = family
        self.example, *_ = self.examples = examples
        self.also, self.synonyms, self.needs = also, synonyms, needs

    @property
    def head(self) -> str:
        """The first word of its name."""
        return str(self.name).partition(" ")[0]

    @property
    def summary(self) -> str:
        """The first line of its help."""
        return (self.help or "").partition("\n")[0].rstrip(".")

    @property
    def usage(self) -> str:
        """The shape of a call: `discover [TARGET] [options]`, `rewrite [NEURON] --push TOKEN [options]`."""
        words = [_shape(param) for param in self.params if isinstance(param, click.Argument)]
        words += [_left(param) for param in self.params if isinstance(param, click.Option) and param.required]
        options = ["[options]"] if len(words) < len(self.params) else []
        return " ".join([self.name or "", *words, *options])

    def steps(self, session: Any, request: Request) -> Steps[Any]:
        """Run it: a generator of events that returns a `Value`."""
        outcome = request.run(session)
        if inspect.isgenerator(outcome):
            outcome = yield from outcome
        return outcome

    def results(self) -> set[type[Struct]]:
        """The kinds of results that it can have, as its `run` says."""
        told = SimpleNamespace(__annotations__={"return": self.kind.run.__annotations__["return"]})
        kind = get_type_hints(told, globalns=self.kind.run.__globals__)["return"]
        if get_origin(kind) is Generator:  # of events, which returns the result
            kind = get_args(kind)[-1]
        return set(get_args(kind) or (kind,))

    def groups(self) -> dict[str, list[tuple[str, str]]]:
        """Its parameters by their groups, each as its form and what it is; those of no group first, under ""."""
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        for param in self.params:
            groups.setdefault(getattr(param, "group", ""), []).append((_left(param), _right(param)))
        return {group: rows for group, rows in groups.items() if rows}

    def help_text(self) -> str:
        """Its help in full: usage, what it does, arguments, options by their groups, and more examples."""
        lines = [self.usage, "", self.help or ""]
        groups = self.groups()
        width = max((len(left) for rows in groups.values() for left, _ in rows), default=0)
        for group, rows in groups.items():
            title = [f"{group}:"] if group else []
            lines += ["", *title, *(f"  {left:<{width}}  {right}".rstrip() for left, right in rows)]
        if len(self.examples) > 1:
            lines += ["", "Examples:", *(f"  {example}" for example in self.examples)]
        return "\n".join(lines)


def families() -> dict[str, list[Verb]]:
    """The verbs by family, both in the order of `help`."""
    grouped: dict[str, list[Verb]] = {}
    for known in VERBS.values():
        grouped.setdefault(known.family, []).append(known)
    return grouped


def verb(
    name: str,
    *,
    family: str,
    example: str | tuple[str, ...],
    default: bool = False,
    also: tuple[str, ...] = (),
    synonyms: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
) -> Callable[[type[Declared]], type[Declared]]:
    """Make a verb of the struct below, and register it. With `default`, the first word of its name alone means it."""

    def declare(kind: type[Declared]) -> type[Declared]:
        examples = (example,) if isinstance(example, str) else example
        made = Verb(name, kind, family, *examples, also=also, synonyms=synonyms, needs=needs)
        if name in VERBS:
            raise TypeError(f"{made.module} declares the verb {name}, and so does {VERBS[name].module}")
        if not NEEDS.keys() >= set(needs):
            raise TypeError(f"the verb {name} needs something unknown; one of: {', '.join(NEEDS)}")
        VERBS[name] = made
        ALSO.update(dict.fromkeys(also, made))
        if default:
            DEFAULTS[made.head] = made
        if any(isinstance(param.type, Prose) for param in made.params):
            TEXTS.add(name)
        kind.verb_name = name
        return kind

    return declare


def family_help(head: str) -> str:
    """The help of a first word that several sub-verbs share: each with its usage and what it does."""
    lines = [f"{head} ACTION …"]
    for found in actions_of(head).values():
        default = f" ({head} alone means this)" if DEFAULTS.get(head) is found else ""
        lines += ["", found.usage, f"  {found.summary}{default}"]
    return "\n".join([*lines, "", "Examples:", *(f"  {found.example}" for found in actions_of(head).values())])


def actions_of(head: str) -> dict[str, Verb]:
    """The sub-verbs with this first word, by their second; none where the word is a verb itself."""
    found = ((each.head, str(name).partition(" ")[2], each) for name, each in VERBS.items())
    return {action: each for first, action, each in found if first == head and action}


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
