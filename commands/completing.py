"""Completion of an unfinished line. Pure: nothing is run here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from commands.arranging import action_at, awaited, ends_open, is_choice, is_option, joined, options_of, takes_selection
from commands.grammar import words_of
from commands.line import LineWord
from commands.verb import DEFAULTS, VERBS, Verb, actions_of
from sessions.lines import quoted

if TYPE_CHECKING:
    from sessions.session import Session


class Completion(Struct, frozen=True):
    """What the word that starts at column `start` could become. `text` is ready to be put there."""

    start: int
    text: str
    description: str


#: Characters before the cursor beyond which nothing is offered: nobody typed so many, and reading them takes long.
LONGEST_COMPLETED = 10_000


def complete(line: str, cursor: int | None = None, session: Session | None = None) -> list[Completion]:
    """What the word at the cursor could become, given what stands before it; nothing where that is very long."""
    before = line[:cursor]
    if len(before) > LONGEST_COMPLETED:
        return []
    given = words_of(before, unfinished=True)
    end = given[-1].end if given else 0
    if before[end:].strip():  # a comment
        return []
    *earlier, current = (
        given if given and end == len(before) else (*given, LineWord("", len(before), len(before), False))
    )
    if not earlier:
        completions = [(name, about) for name, about in summaries().items() if name.startswith(current.text)]
        return [Completion(current.start, name, about) for name, about in sorted(completions)]
    head, rest = earlier[0].text, earlier[1:]
    actions = actions_of(head)
    at = action_at(actions, rest)
    if at is not None and rest[at].text in actions:
        return _completed(actions[rest[at].text], rest[:at] + rest[at + 1 :], current, session)
    open_ones = actions if at is None and not current.quoted and not awaited(actions, rest) else {}
    offered = [Completion(current.start, name, verb.summary) for name, verb in open_ones.items()]
    verb = VERBS.get(head) or DEFAULTS.get(head)
    further = [] if verb is None else _completed(verb, rest, current, session)
    return [completion for completion in offered if completion.text.startswith(current.text)] + further


def summaries() -> dict[str, str]:
    """Every first word of a line, and what it is for: of sub-verbs, which there are."""
    verbs = {verb.head: verb.summary for verb in VERBS.values()}
    return {head: ", ".join(actions_of(head)) or about for head, about in verbs.items()}


def _completed(verb: Verb, earlier: Sequence[LineWord], current: LineWord, session: Session | None) -> list[Completion]:
    options = options_of(verb)
    name, equals, value = current.text.partition("=")
    if is_option(current) and equals:
        option = options.get(name)
        if option is None or option.is_flag:
            return []
        completions = _meanings(verb, option, (), value, session)
        return [Completion(current.start, f"{name}={text}", about) for text, about in completions]
    if not current.quoted and current.text.startswith("--"):
        used = {word.text.partition("=")[0] for word in earlier if is_option(word)}
        set_already = {options[name].name for name in used & options.keys() if is_choice(options[name])}
        return [
            Completion(current.start, name, option.help or "")
            for name, option in options.items()
            if name.startswith(current.text)
            and (option.multiple or name not in used)
            and not (is_choice(option) and option.name in set_already)
        ]
    param, plain = _expected(verb, options, earlier)
    if param is None:
        return []
    completions = _meanings(verb, param, plain, current.text, session)
    return [Completion(current.start, text, about) for text, about in completions]


def _meanings(
    verb: Verb, param: click.Parameter, earlier: Sequence[str], incomplete: str, session: Session | None
) -> list[tuple[str, str]]:
    """What a word could become, ready to be put into a line, and what that means."""
    context = click.Context(verb, obj=session)
    context.args = list(earlier)
    items = param.type.shell_complete(context, param, incomplete)
    return [(quoted(item.value), item.help or "") for item in items]


def _expected(
    verb: Verb, options: dict[str, click.Option], earlier: Sequence[LineWord]
) -> tuple[click.Parameter | None, tuple[str, ...]]:
    """The parameter that the next word belongs to, and the plain words before it."""
    plain: list[LineWord] = []
    waiting: click.Option | None = None
    for word in earlier:
        if is_option(word):
            option = options.get(word.text)
            waiting = None if option is None or option.is_flag else option
        elif waiting is not None:
            waiting = None
        else:
            plain.append(word)
    if waiting is not None:
        return waiting, ()
    if takes_selection(verb):
        plain = joined(plain)
        if plain and ends_open(plain[-1]):  # the selection goes on
            plain.pop()
    texts = tuple(word.text for word in plain)
    arguments = [param for param in verb.params if isinstance(param, click.Argument)]
    for number, param in enumerate(arguments):
        if param.nargs == -1 or number == len(texts):
            return param, texts
    return None, texts
