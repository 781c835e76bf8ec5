"""A verb as data: a frozen struct whose fields are the verb's parameters.

    @verb("keep", family="Circuits", example="keep top50")
    class Keep(Request, frozen=True):
        "Narrow the circuit to a selection."

        selection: Annotated[str, Arg(SelectionWord(), "the neurons to keep")]

        def run(self, session: Session) -> Narrowed: ...

`Arg` marks a word by its place, `Opt` an option with a value, `Flag` one without, and `Flags` several options that set
one field between them. A field without a default is required. A field whose type is an `Options` struct stands for
the fields of that struct, a block of options that verbs may share. `rules` says what does not go together.

From the struct come the parameters that click reads, the struct of a line that was read, and `line()`, the line that
makes the same call again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Protocol, Self, cast, get_args, get_origin, get_type_hints

import click
from msgspec import NODEFAULT, Struct, structs

from sessions.errors import UsageError
from sessions.lines import line_of


class Arg(Struct, frozen=True):
    """A positional word; `many` takes all the words that are left."""

    word: Any
    help: str
    metavar: str = ""
    many: bool = False

    def params(self, name: str, default: Any, group: str = "") -> Iterator[click.Parameter]:
        given = {} if default in (NODEFAULT, None, ()) else {"default": _told(self.word, default)}
        yield Argument(
            [name],
            type=self.word,
            required=default is NODEFAULT,
            nargs=-1 if self.many else 1,
            metavar=self.metavar or None,
            about=self.help,
            **given,
        )


class Opt(Struct, frozen=True):
    """An option with a value. `flag` is what is typed, `--field-name` unless given, and `also` another name of it; one
    of `many` may come again."""

    word: Any
    help: str
    flag: str = ""
    metavar: str = ""
    many: bool = False
    also: str = ""

    def params(self, name: str, default: Any, group: str = "") -> Iterator[click.Parameter]:
        given = {} if default in (NODEFAULT, None, ()) else {"default": _told(self.word, default)}
        yield Option(
            [self.flag or _flag(name), *filter(None, [self.also]), name],
            type=self.word,
            help=self.help,
            required=default is NODEFAULT,
            multiple=self.many,
            metavar=self.metavar or None,
            group=group,
            **given,
        )


class Flag(Struct, frozen=True):
    """An option without a value. With `off`, a flag that says the opposite, the field is None where neither stands."""

    help: str
    flag: str = ""
    off: str = ""

    def params(self, name: str, default: Any, group: str = "") -> Iterator[click.Parameter]:
        flag = self.flag or _flag(name)
        spelt, given = (f"{flag}/{self.off}", {"default": None}) if self.off else (flag, {"is_flag": True})
        yield Option([spelt, name], help=self.help, group=group, **given)


class TrustFlag(Flag, frozen=True):
    """A flag that lets code run which comes with a model."""


class Flags(Struct, frozen=True):
    """Several options that set the same field: the word that each sets, and its help."""

    choices: dict[str, str]

    def params(self, name: str, default: Any, group: str = "") -> Iterator[click.Parameter]:
        for word, about in self.choices.items():
            given = {"default": word} if word == default else {}
            yield Option([_flag(word), name], flag_value=word, help=about, group=group, **given)


Mark = Arg | Opt | Flag | Flags


class Argument(click.Argument):
    """A positional word as click reads it, with what it is for."""

    def __init__(self, *args: Any, about: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.about = about


class Option(click.Option):
    """An option as click reads it, with the heading that it stands under in the help."""

    def __init__(self, *args: Any, group: str = "", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group


class Constraint(Protocol):
    """What parameters may be given together; `refuse` raises `UsageError` where they may not."""

    def refuse(self, request: Request) -> None: ...


class Excludes(Struct, frozen=True):
    """The parameter `one` does not go with any of the `others`. The texts may name {one} and {other} as typed."""

    one: str
    others: tuple[str, ...]
    message: str = "{one} does not go with {other}"
    hint: str = "leave one of them out"

    def refuse(self, request: Request) -> None:
        other = next(filter(request.gives, self.others), None)
        if other is not None and request.gives(self.one):
            _refuse(request, self, one=self.one, other=other)


class Needs(Struct, frozen=True):
    """None of the parameters `some` goes without the parameter `one`. The texts may name {one} and {some} as typed."""

    some: tuple[str, ...]
    one: str
    message: str = "{some} needs {one}"
    hint: str = "give both, or leave {some} out"

    def refuse(self, request: Request) -> None:
        some = next(filter(request.gives, self.some), None)
        if some is not None and not request.gives(self.one):
            _refuse(request, self, one=self.one, some=some)


def _refuse(request: Request, rule: Excludes | Needs, **names: str) -> None:
    typed = {key: request.typed(name) for key, name in names.items()}
    raise UsageError(rule.message.format(**typed), rule.hint.format(**typed))


class Options(Struct, frozen=True):
    """A block of parameters: several verbs may have it in common, and `group` is its heading in the help."""

    group: ClassVar[str] = ""


class Request(Options, frozen=True):
    """What a line asks of its verb. A subclass has a docstring, which is the help, fields, and `run`."""

    #: The name of the verb, which `verb` puts here.
    verb_name: ClassVar[str] = ""
    #: Whether it only looks: afterwards the session and the files are as they were.
    reads_only: ClassVar[bool] = False
    #: What does not go together.
    rules: ClassVar[tuple[Constraint, ...]] = ()

    def run(self, session: Any) -> Any:
        """Do it: a result, or a generator of events that returns one."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        for rule in self.rules:
            rule.refuse(self)

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """The request that the parameters of a line are, by the names of the fields.

        Raises:
            UsageError: two of them do not go together.
        """
        return cast(Self, _made(cls, params))

    def gives(self, name: str) -> bool:
        """Whether a parameter is anything but its default."""
        field = _named(type(self), name)
        return field.default is NODEFAULT or field.of(self) != field.default

    def typed(self, name: str) -> str:
        """A parameter as one types it: `--vs`, or `a target` where it has no name in the line."""
        field = _named(type(self), name)
        if isinstance(field.mark, Flags):
            return _flag(str(field.of(self)))
        return f"a {name}" if isinstance(field.mark, Arg) else field.mark.flag or _flag(name)

    def refuse(self, names: Iterable[str], why: str, hint: str = "leave it out") -> None:
        """Refuse those parameters, which `why` says what they are for: `--layer is for the maxima of an atlas`.

        Raises:
            UsageError: one of them is given.
        """
        wrong = next(filter(self.gives, names), None)
        if wrong is not None:
            raise UsageError(f"{self.typed(wrong)} {why}", hint)

    def line(self) -> str:
        """The line that makes this call again: its words, and every option that is not at its default.

        Raises:
            TypeError: a word is given, and one before it is left out: no line says that.
        """
        words: list[str] = []
        options: dict[str, object] = {}
        said = 0  # of the words, how many do not go without saying
        missing = ""
        for field in fields_of(type(self)):
            value, mark = field.of(self), field.mark
            default = value is None or (field.default is not NODEFAULT and value == field.default)
            if isinstance(mark, Arg):
                if missing and not default:
                    raise TypeError(f"{self.verb_name}: {field.name} is given, and {missing} before it is not")
                missing = missing or (field.name if value is None else "")
                words += [mark.word.said(each) for each in (value if mark.many else (value,)) if each is not None]
                said = said if default else len(words)
            elif default:
                continue
            elif isinstance(mark, Opt):
                flag = self.typed(field.name)
                options[flag] = [mark.word.said(each) for each in value] if mark.many else mark.word.said(value)
            else:
                options[mark.off if value is False and isinstance(mark, Flag) else self.typed(field.name)] = True
        return line_of([*self.verb_name.split(), *words[:said]], options)


class Field(Struct, frozen=True):
    """A parameter of a request: its mark, its default, and the way to its value through blocks of options."""

    name: str
    path: tuple[str, ...]
    mark: Mark
    default: Any
    group: str

    def of(self, request: Options) -> Any:
        value: Any = request
        for name in self.path:
            value = getattr(value, name)
        return value


@cache
def fields_of(kind: type[Options]) -> tuple[Field, ...]:
    """The parameters of a kind of request, those of its blocks of options among them, in the order of the help.

    Raises:
        TypeError: a field has no mark, or does not say what it is for; or two have one name.
    """
    found: list[Field] = []
    for name, hint, default in _declared(kind):
        if _is_block(hint):
            found += [structs.replace(each, path=(name, *each.path)) for each in fields_of(hint)]
            continue
        marks = [mark for mark in get_args(hint)[1:] if isinstance(mark, Mark)] if get_origin(hint) is Annotated else []
        if len(marks) != 1:
            raise TypeError(f"{kind.__name__}.{name} needs one mark: Arg, Opt, Flag or Flags")
        if not all(marks[0].choices.values() if isinstance(marks[0], Flags) else (marks[0].help,)):
            raise TypeError(f"{kind.__name__}.{name} needs a help text")
        found.append(Field(name, (name,), marks[0], default, kind.group))
    names = [field.name for field in found]
    if len(set(names)) < len(names):
        raise TypeError(f"{kind.__name__} has two fields of one name: {', '.join(names)}")
    return tuple(found)


def params_of(kind: type[Request]) -> list[click.Parameter]:
    """The parameters of a kind of request, as click reads them."""
    return [param for field in fields_of(kind) for param in field.mark.params(field.name, field.default, field.group)]


@cache
def _declared(kind: type[Options]) -> tuple[tuple[str, Any, Any], ...]:
    """Name, annotation and default of each field."""
    hints = get_type_hints(kind, include_extras=True)  # `structs.fields` would evaluate all annotations once more
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    required = (NODEFAULT,) * (len(names) - len(defaults))
    return tuple((name, hints[name], default) for name, default in zip(names, required + defaults, strict=True))


def _is_block(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Options)


def _made(kind: type[Options], params: Mapping[str, Any]) -> Options:
    return kind(**{name: _made(hint, params) if _is_block(hint) else params[name] for name, hint, _ in _declared(kind)})


def _named(kind: type[Options], name: str) -> Field:
    return next(field for field in fields_of(kind) if field.name == name)


def _told(word: Any, default: Any) -> Any:
    """A default as click and the help have it: what is neither a text nor a number, as its text."""
    return default if isinstance(default, str | int | float) else word.said(default)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
