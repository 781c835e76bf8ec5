"""From a line to a call, and from half a line to what it could become. Pure: nothing is run here.

All verbs are the commands of one click group. Click reads the parameters; this file decides which
words are options (those that start with `--` outside quotes), so that a negative multiplier or a
quoted "--word" is always just a word, and puts every error into one form with a hint.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from commands import artifacts, circuits, control, interventions, prompting
from commands.line import Word, is_blank, quoted, words
from commands.verb import Verb
from commands.words import SelectionWord
from sessions.circuits.selection import OPERATORS as SELECTION_OPERATORS
from sessions.errors import UsageError

if TYPE_CHECKING:
    from sessions.session import Session

GROUP = click.Group("workbench", add_help_option=False)
for family in (prompting, circuits, interventions, artifacts, control):
    for thing in vars(family).values():
        if isinstance(thing, Verb):
            GROUP.add_command(thing)

VERBS: dict[str, Verb] = {name: command for name, command in GROUP.commands.items() if isinstance(command, Verb)}


class Call(Struct, frozen=True):
    """A line that was understood: the verb, its parameters by name, and the line itself."""

    verb: str
    params: dict[str, Any]
    line: str


class Completion(Struct, frozen=True):
    """What the word that starts at column `start` could become. `text` is ready to be put there."""

    start: int
    text: str
    description: str


def parse(line: str) -> Call:
    """The call a line makes.

    Raises:
        UsageError: what is wrong, in which column where that is known, and what to type instead.
    """
    first, *rest = words(line) or (None,)
    if first is None:
        raise UsageError("the line is empty", "type a command, or help")
    verb = find(first.text, first.start)
    args = _arranged(verb, rest)
    try:
        with verb.make_context(verb.name, args) as context:
            return Call(str(verb.name), context.params, line)
    except click.UsageError as error:
        raise UsageError(_said(error), f"usage: {verb.usage}") from error


def find(name: str, column: int | None = None) -> Verb:
    """The verb of that name.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    if name in VERBS:
        return VERBS[name]
    near = get_close_matches(name, VERBS, 1) or [verb for verb in VERBS if verb.startswith(name[:3])][:1]
    raise UsageError(
        f"there is no verb '{name}'", f"did you mean {near[0]}?" if near else "help lists all verbs", column
    )


def _arranged(verb: Verb, given: Sequence[Word]) -> list[str]:
    """The words as click wants them: options first, then `--`, then everything that is plain text."""
    options = _options(verb)
    before: list[str] = []
    plain: list[str] = []
    at = 0
    while at < len(given):
        word = given[at]
        at += 1
        name, equals, _ = word.text.partition("=")
        if not _is_option(word):
            plain.append(word.text)
            continue
        if name not in options:
            raise UsageError(f"{verb.name} has no option {name}", _nearest_option(name, options), word.start)
        before.append(word.text)
        if not equals and not options[name].is_flag:
            if at == len(given):
                raise UsageError(f"{name} needs a value", f"see help {verb.name}", word.end)
            before.append(given[at].text)
            at += 1
    takes_selection = any(isinstance(param.type, SelectionWord) for param in verb.params)
    return [*before, "--", *(_joined(plain) if takes_selection else plain)]


def _joined(plain: list[str]) -> list[str]:
    """Words with a selection's operator standing alone between them become one word: `all - L24/*`."""
    found: list[str] = []
    waiting = False
    for word in plain:
        if found and (waiting or word in SELECTION_OPERATORS):
            found[-1] = f"{found[-1]} {word}"
            waiting = word in SELECTION_OPERATORS
        else:
            found.append(word)
    return found


def _options(verb: Verb) -> dict[str, click.Option]:
    """Every name of every option, `--greedy` of a `--sample/--greedy` pair included."""
    options = [param for param in verb.params if isinstance(param, click.Option)]
    return {name: param for param in options for name in (*param.opts, *param.secondary_opts)}


def _is_option(word: Word) -> bool:
    return word.text.startswith("--") and len(word.text) > 2 and not word.quoted


def _nearest_option(name: str, options: dict[str, Any]) -> str:
    near = get_close_matches(name, options, 1)
    if near:
        return f"did you mean {near[0]}?"
    return (
        f"its options: {', '.join(options)}" if options else "it has none; put quotes around text that starts with --"
    )


def _said(error: click.UsageError) -> str:
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]


def complete(line: str, cursor: int | None = None, session: Session | None = None) -> list[Completion]:
    """What the word at the cursor could become, given what stands before it."""
    before = line[:cursor]
    if before.strip() and is_blank(before):
        return []
    given = words(before, unfinished=True)
    if not given or not before[-1:].isspace() or _open_quote(given[-1], before):
        *earlier, current = given or (Word("", len(before), len(before), False),)
    else:
        earlier, current = list(given), Word("", len(before), len(before), False)
    if not earlier:
        found = [(name, verb.summary) for name, verb in VERBS.items() if name.startswith(current.text)]
        return [Completion(current.start, name, about) for name, about in sorted(found)]
    verb = VERBS.get(earlier[0].text)
    return [] if verb is None else _completed(verb, earlier[1:], current, session)


def _open_quote(word: Word, line: str) -> bool:
    return word.quoted and word.end == len(line) and (len(line) - word.start < 2 or line[-1] not in "\"'")


def _completed(verb: Verb, earlier: Sequence[Word], current: Word, session: Session | None) -> list[Completion]:
    options = _options(verb)
    if not current.quoted and current.text.startswith("--"):
        used = {word.text for word in earlier}
        return [
            Completion(current.start, name, option.help or "")
            for name, option in options.items()
            if name.startswith(current.text) and (option.multiple or name not in used)
        ]
    param = _expected(verb, options, earlier)
    if param is None:
        return []
    context = click.Context(verb, obj=session)
    items = param.type.shell_complete(context, param, current.text)
    return [Completion(current.start, quoted(item.value), item.help or "") for item in items]


def _expected(verb: Verb, options: dict[str, click.Option], earlier: Sequence[Word]) -> click.Parameter | None:
    """The parameter that the next word belongs to."""
    valued = {name: option for name, option in options.items() if not option.is_flag}
    plain = 0
    waiting: click.Option | None = None
    for word in earlier:
        if waiting is not None:
            waiting = None
        elif _is_option(word):
            waiting = valued.get(word.text)
        else:
            plain += 1
    if waiting is not None:
        return waiting
    arguments = [param for param in verb.params if isinstance(param, click.Argument)]
    for number, param in enumerate(arguments):
        if param.nargs == -1 or number == plain:
            return param
    return None


def call_line(name: str, *args: Any, **kwargs: Any) -> str:
    """The line that calls a verb with Python's arguments: the way from Python into the grammar.

    Positional arguments fill the verb's words in order, a list filling one that takes many. Keyword
    arguments name options or words.

    Raises:
        UsageError: the verb has no such argument.
    """
    verb = find(name)
    given = dict(kwargs)
    plain: list[str] = []
    options: list[str] = []
    values = list(args)
    for param in verb.params:
        key = param.name or ""
        if isinstance(param, click.Option):
            if key in given:
                options += _option_words(param, given.pop(key))
        elif key in given:
            plain += _texts(given.pop(key))
        elif values:
            taken, values = (values, []) if param.nargs == -1 else (values[:1], values[1:])
            plain += [text for value in taken for text in _texts(value)]
    if given or values:
        wrong = next(iter(given), None) or repr(values[0])
        raise UsageError(f"{name} takes no argument {wrong}", f"usage: {verb.usage}")
    return " ".join([name, *map(quoted, plain), *options])


def _option_words(option: click.Option, value: Any) -> list[str]:
    if value is False and option.secondary_opts:
        return [option.secondary_opts[0]]
    if value is None or value is False:
        return []
    if option.is_flag:
        return [option.opts[0]]
    values = value if option.multiple and not isinstance(value, str) else [value]
    return [word for one in values for word in (option.opts[0], quoted(_text(one)))]


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [_text(one) for one in value] if isinstance(value, list | tuple | range) else [_text(value)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value[0]}-{value[1]}" if isinstance(value, tuple) else str(value)
