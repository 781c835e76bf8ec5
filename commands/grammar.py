"""From a line to a call. Pure: nothing is run here.

Every verb is a click command in the registry of `verb`. Click reads the parameters; `arranging` says which words are
options; this file finds the verb, or the sub-verb, and puts every error into one form with a hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click
from msgspec import Struct, structs

from commands.arranging import action_at, is_choice, is_option, joined, options_of, takes_selection
from commands.line import LineWord, is_text, words
from commands.request import Request
from commands.suggesting import suggestion as suggestion
from commands.verb import ALSO, DEFAULTS, actions_of
from commands.verb import TEXTS as TEXTS
from commands.verb import VERBS as VERBS
from commands.verb import Verb as Verb
from commands.words import PlacedText
from sessions.errors import UsageError

#: The modules of verbs, in the order of `help`. A verb is there once its module is in this list.
FAMILIES = (
    "prompting", "chat", "circuits", "contrast", "neuron", "heads", "verification", "edges", "faithfulness",
    "universal", "vectors", "interventions", "sweeping", "suppression", "strength", "presets", "edits", "rewriting",
    "adapters", "ensembling", "atlas", "quiet", "means", "capturing", "injecting", "patching", "lens", "sae",
    "surgery", "evaluating", "training", "rounds", "artifacts", "exporting", "importing", "fingerprints", "control",
    "reporting", "undoing", "expecting", "benching",
)  # fmt: skip


def _registered() -> None:
    """Import all families, and put their verbs in the order of `help`, whichever of them imported another first."""
    modules = [import_module(f"commands.{family}").__name__ for family in FAMILIES]
    ordered = sorted(VERBS.items(), key=lambda item: modules.index(item[1].module))
    VERBS.clear()
    VERBS.update(ordered)


_registered()


def words_of(line: str, *, unfinished: bool = False) -> tuple[LineWord, ...]:
    """The words of a line, as `line.words` has them. A colon before the verb, as in an editor, means nothing."""
    begin = len(line) - len(line.lstrip())
    if line[begin : begin + 1] == ":":
        line = f"{line[:begin]} {line[begin + 1 :]}"
    return words(line, unfinished=unfinished, texts=TEXTS)


#: What asks for the help of a verb; `--help` anywhere in its line, the others alone behind it.
HELP, _ASKING = "--help", ("-h", "?")
#: How alike a word and the name of a sub-verb are, of 1, where the word is that name misspelt.
_MISSPELT = 0.7


class Call(Struct, frozen=True):
    """A line that was understood: the verb, its parameters by name, the line itself, and the request it makes."""

    verb: str
    params: dict[str, Any]
    line: str
    request: Request


def parse(line: str) -> Call:
    """The call a line makes.

    Raises:
        UsageError: what is wrong, in which column where that is known, and what to type instead.
    """
    if not is_text(line):
        column = next(at for at, character in enumerate(line) if not is_text(character))
        raise UsageError("the line is not valid UTF-8", "set the terminal's encoding to UTF-8", column)
    first, *rest = words_of(line) or (None,)
    if first is None:
        raise UsageError("the line is empty", "type a command, or help")
    asked = _explained(first, rest)
    verb, rest = _chosen(first, rest) if asked is None else (VERBS["help"], asked)
    args = _arranged(verb, rest)
    try:
        with verb.make_context(verb.name, args) as context:
            return Call(str(verb.name), context.params, line, verb.kind.of(context.params))
    except click.MissingParameter as error:
        hint = f"usage: {verb.usage}; for example: {verb.example}"
        raise UsageError(f"{verb.name} needs {_missing(error.param)}", hint) from error
    except click.UsageError as error:
        raise UsageError(_said(error), f"usage: {verb.usage}") from error


def understood(line: str) -> Call | None:
    """The call a line makes; None if it makes none."""
    try:
        return parse(line)
    except UsageError:
        return None


def find(name: str, column: int | None = None) -> Verb:
    """The verb of that name, or the sub-verb that a first word alone means.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    declared = VERBS.get(name) or DEFAULTS.get(name) or ALSO.get(name)
    if declared is not None:
        return declared
    head, _, action = name.partition(" ")
    actions = actions_of(head)
    if actions:
        raise UsageError(*_no_action(head, action, actions), column)
    raise _no_verb(name, name, column)


def verb_named(line: str) -> str:
    """The name of the verb that a line begins with, as cheaply as can be; "" if it is none."""
    first, action, *_ = [*line.lstrip(" :").split(maxsplit=2), "", ""]
    found = VERBS.get(f"{first} {action}") or VERBS.get(first) or DEFAULTS.get(first) or ALSO.get(first)
    return "" if found is None else str(found.name)


def _no_verb(name: str, text: str, column: int | None) -> UsageError:
    """The error for a verb that does not exist. `text` is what stands there, with the words behind it."""
    return UsageError(f"there is no verb '{name}'", suggestion(text), column)


def _no_action(head: str, action: str, actions: Iterable[str]) -> tuple[str, str]:
    """What is wrong with a sub-verb that does not exist, and what to type instead."""
    near = get_close_matches(action, actions, 1)
    hint = (
        f"did you mean {head} {near[0]}?" if near else f"one of: {', '.join(f'{head} {action}' for action in actions)}"
    )
    return (f"{head} has no '{action}'" if action else f"{head} needs an action"), hint


def _explained(first: LineWord, rest: Sequence[LineWord]) -> list[LineWord] | None:
    """The words of the verb that a line asks the help of; None where it asks for none. Quoted words ask for nothing."""
    plain = [word.text for word in rest if not word.quoted]
    actions = actions_of(first.text)
    at = action_at(actions, rest)
    named = [first] if at is None or rest[at].text not in actions else [first, rest[at]]
    behind = [word for word in rest if word not in named]
    alone = len(behind) == 1 and behind[0].text in _ASKING and not behind[0].quoted
    if not alone and HELP not in plain:
        return None
    if not actions:
        name = str(find(first.text, first.start).name)
        return [structs.replace(first, text=name)]
    return named


def _chosen(first: LineWord, rest: list[LineWord]) -> tuple[Verb, list[LineWord]]:
    """The verb of a line, and the words that are left for it. The word that names a sub-verb is the first plain one."""
    actions = actions_of(first.text)
    at = action_at(actions, rest)
    if at is None:
        if not actions and first.text not in VERBS and first.text not in ALSO:
            raise _no_verb(first.text, " ".join(word.text for word in (first, *rest)), first.start)
        return find(first.text, first.start), rest
    word = rest[at]
    if word.text in actions and not word.quoted:
        return actions[word.text], rest[:at] + rest[at + 1 :]
    default = DEFAULTS.get(first.text)
    takes_words = default is not None and any(isinstance(param, click.Argument) for param in default.params)
    misspelt = bool(get_close_matches(word.text, actions, 1, _MISSPELT)) and not word.quoted
    if default is None or not takes_words or misspelt:
        raise UsageError(*_no_action(first.text, word.text, actions), word.start)
    return default, rest


def _arranged(verb: Verb, given: Sequence[LineWord]) -> list[str]:
    """The words as click wants them: options first, then `--`, then everything that is plain text."""
    options = options_of(verb)
    before: list[str] = []
    plain: list[LineWord] = []
    chosen: dict[str, str] = {}  # of flags that set one parameter between them
    waiting = list(reversed(given))
    while waiting:
        word = waiting.pop()
        if not is_option(word):
            plain.append(word)
            continue
        name, equals, value = word.text.partition("=")
        if name not in options:
            raise UsageError(f"{verb.name} has no option {name}", _nearest_option(verb, name, options), word.start)
        if options[name].is_flag:
            first = chosen.setdefault(options[name].name or "", name) if is_choice(options[name]) else name
            if first != name:
                raise UsageError(f"{verb.name} takes {first} or {name}, not both", "leave one of them out", word.start)
            before.append(word.text)
        elif equals:
            quoted = word.end - word.start > len(word.text)
            before += [name, PlacedText(value, word.start + len(name) + 1, quoted)]
        elif waiting and not is_option(waiting[-1]):
            before += [name, _placed(waiting.pop())]
        else:
            raise UsageError(f"{name} needs a value", f"see help {verb.name}", word.end)
    return [*before, "--", *map(_placed, joined(plain) if takes_selection(verb) else plain)]


def _placed(word: LineWord) -> PlacedText:
    return PlacedText(word.text, word.start + word.quoted, word.quoted)


def _nearest_option(verb: Verb, name: str, options: dict[str, Any]) -> str:
    others = [str(action.name) for action in actions_of(verb.head).values() if name in options_of(action)]
    if others:
        return f"it is an option of {' and '.join(others)}"
    near = get_close_matches(name, options, 1)
    if near:
        return f"did you mean {near[0]}?"
    return (
        f"its options: {', '.join(options)}" if options else "it has none; put quotes around text that starts with --"
    )


def _missing(param: click.Parameter | None) -> str:
    """What a line lacks, as in `save needs a name`."""
    if not isinstance(param, click.Argument):
        return "a word more" if param is None else param.opts[0]
    name = (param.metavar or param.name or "").lower().strip("[],…").replace("_", " ").replace("|", " or ")
    return name if name.endswith("s") else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _said(error: click.UsageError) -> str:
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]
