"""From a line to a call, and from half a line to what it could become. Pure: nothing is run here.

Every verb is a click command in the registry of `verb`. Click reads the parameters; this file decides which
words are options (those that start with `--` outside quotes), so that a negative multiplier or a
quoted "--word" is always just a word, and puts every error into one form with a hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from commands.line import Word, is_text, words
from commands.verb import TEXTS as TEXTS
from commands.verb import VERBS as VERBS
from commands.verb import Verb, key_of
from commands.words import Placed, SelectionWord
from sessions.circuits.circuit import Neuron
from sessions.circuits.selection import OPERATORS
from sessions.errors import UsageError
from sessions.lines import quoted

if TYPE_CHECKING:
    from sessions.session import Session

#: The modules of verbs, in the order of `help`. A verb is there once its module is in this list.
FAMILIES = (
    "prompting", "chat", "circuits", "contrast", "neuron", "verification", "edges", "faithfulness", "universal",
    "vectors", "interventions", "sweeping", "suppression", "strength", "presets", "edits", "rewriting", "adapters",
    "ensembling", "atlas", "quiet", "means", "capturing", "injecting", "sae", "surgery", "evaluating", "training",
    "rounds", "artifacts", "exporting", "importing", "fingerprints", "control", "expecting",
)  # fmt: skip


def _registered() -> None:
    """Import all families, and put their verbs in the order of `help`, whichever of them imported another first."""
    modules = [import_module(f"commands.{family}").__name__ for family in FAMILIES]
    ordered = sorted(VERBS.items(), key=lambda each: modules.index(each[1].module))
    VERBS.clear()
    VERBS.update(ordered)


_registered()


def words_of(line: str, *, unfinished: bool = False) -> tuple[Word, ...]:
    """The words of a line, as `line.words` has them."""
    return words(line, unfinished=unfinished, texts=TEXTS)


#: Other names of verbs, and what other programs call some of them.
_ALSO = {"exit": "quit"}
_ELSEWHERE = {"ls": "list", "rm": "delete", "man": "help", "?": "help"}


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
    if not is_text(line):
        column = next(at for at, character in enumerate(line) if not is_text(character))
        raise UsageError("the line has bytes in it that are no text", "type it in UTF-8", column)
    first, *rest = words_of(line) or (None,)
    if first is None:
        raise UsageError("the line is empty", "type a command, or help")
    verb = find(first.text, first.start)
    args = _arranged(verb, rest)
    try:
        with verb.make_context(verb.name, args) as context:
            verb.request(context.params)  # refuses what does not go together
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
    if name in _ALSO:
        return VERBS[_ALSO[name]]
    meant = _ELSEWHERE.get(name, name.lower())
    near = get_close_matches(meant, VERBS, 1) or [verb for verb in VERBS if meant and verb.startswith(meant[:3])][:1]
    raise UsageError(
        f"there is no verb '{name}'", f"did you mean {near[0]}?" if near else "help lists all verbs", column
    )


def _arranged(verb: Verb, given: Sequence[Word]) -> list[str]:
    """The words as click wants them: options first, then `--`, then everything that is plain text."""
    options = _options(verb)
    before: list[str] = []
    plain: list[Word] = []
    chosen: dict[str, str] = {}  # of flags that set one parameter between them
    waiting = list(reversed(given))
    while waiting:
        word = waiting.pop()
        if not _is_option(word):
            plain.append(word)
            continue
        name, equals, value = word.text.partition("=")
        if name not in options:
            raise UsageError(f"{verb.name} has no option {name}", _nearest_option(name, options), word.start)
        if options[name].is_flag:
            first = chosen.setdefault(options[name].name or "", name) if _is_choice(options[name]) else name
            if first != name:
                raise UsageError(f"{verb.name} takes {first} or {name}, not both", "leave one of them out", word.start)
            before.append(word.text)
        elif equals:
            before += [name, Placed(value, word.start + len(name) + 1)]
        elif waiting and not _is_option(waiting[-1]):
            before += [name, _placed(waiting.pop())]
        else:
            raise UsageError(f"{name} needs a value", f"see help {verb.name}", word.end)
    return [*before, "--", *map(_placed, _joined(plain) if _takes_selection(verb) else plain)]


def _placed(word: Word) -> Placed:
    return Placed(word.text, word.start + word.quoted)


def _takes_selection(verb: Verb) -> bool:
    return any(isinstance(param.type, SelectionWord) for param in verb.params)


def _joined(plain: Iterable[Word]) -> list[Word]:
    """Words that selections hold together become one: `all - L24/*`, `L1/N2, L3/N4`, `(top10, L1/N2) & L1/*`."""
    groups: list[list[Word]] = []
    open_ones = 0  # parentheses of the last group that are not closed yet
    for word in plain:
        closes = word.text in OPERATORS or word.text[:1] in (",", "&", ")")
        if groups and (open_ones > 0 or closes or groups[-1][-1].text[-1:] in OPERATORS):
            groups[-1].append(word)
        else:
            groups.append([word])
            open_ones = 0
        open_ones += word.text.count("(") - word.text.count(")")
    return [group[0] if len(group) == 1 else _as_one(group) for group in groups]


def _ends_open(word: Word) -> bool:
    """Whether a selection goes on behind this word."""
    return word.text[-1:] in OPERATORS or word.text.count("(") > word.text.count(")")


def _as_one(words: Sequence[Word]) -> Word:
    gaps = (" " * (word.start - before.end) for before, word in pairwise(words))
    rest = (piece for gap, word in zip(gaps, words[1:], strict=True) for piece in (gap, word.text))
    return Word("".join([words[0].text, *rest]), words[0].start, words[-1].end, words[0].quoted)


def _options(verb: Verb) -> dict[str, click.Option]:
    """Every name of every option, `--greedy` of a `--sample/--greedy` pair included."""
    options = [param for param in verb.params if isinstance(param, click.Option)]
    return {name: param for param in options for name in (*param.opts, *param.secondary_opts)}


def _is_choice(option: click.Option) -> bool:
    """Whether it is one of several flags that set one parameter between them."""
    return option.is_flag and isinstance(option.flag_value, str)


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
    *earlier, current = given if given and end == len(before) else (*given, Word("", len(before), len(before), False))
    if not earlier:
        found = [(name, verb.summary) for name, verb in VERBS.items() if name.startswith(current.text)]
        return [Completion(current.start, name, about) for name, about in sorted(found)]
    verb = VERBS.get(earlier[0].text)
    return [] if verb is None else _completed(verb, earlier[1:], current, session)


def _completed(verb: Verb, earlier: Sequence[Word], current: Word, session: Session | None) -> list[Completion]:
    options = _options(verb)
    name, equals, value = current.text.partition("=")
    if _is_option(current) and equals:
        option = options.get(name)
        if option is None or option.is_flag:
            return []
        found = _meanings(verb, option, (), value, session)
        return [Completion(current.start, f"{name}={text}", about) for text, about in found]
    if not current.quoted and current.text.startswith("--"):
        used = {word.text.partition("=")[0] for word in earlier if _is_option(word)}
        set_already = {options[name].name for name in used & options.keys() if _is_choice(options[name])}
        return [
            Completion(current.start, name, option.help or "")
            for name, option in options.items()
            if name.startswith(current.text)
            and (option.multiple or name not in used)
            and not (_is_choice(option) and option.name in set_already)
        ]
    param, plain = _expected(verb, options, earlier)
    if param is None:
        return []
    found = _meanings(verb, param, plain, current.text, session)
    return [Completion(current.start, text, about) for text, about in found]


def _meanings(
    verb: Verb, param: click.Parameter, earlier: Sequence[str], incomplete: str, session: Session | None
) -> list[tuple[str, str]]:
    """What a word could become, ready to be put into a line, and what that means."""
    context = click.Context(verb, obj=session)
    context.args = list(earlier)
    items = param.type.shell_complete(context, param, incomplete)
    return [(quoted(item.value), item.help or "") for item in items]


def _expected(
    verb: Verb, options: dict[str, click.Option], earlier: Sequence[Word]
) -> tuple[click.Parameter | None, tuple[str, ...]]:
    """The parameter that the next word belongs to, and the plain words before it."""
    plain: list[Word] = []
    waiting: click.Option | None = None
    for word in earlier:
        if _is_option(word):
            option = options.get(word.text)
            waiting = None if option is None or option.is_flag else option
        elif waiting is not None:
            waiting = None
        else:
            plain.append(word)
    if waiting is not None:
        return waiting, ()
    if _takes_selection(verb):
        plain = _joined(plain)
        if plain and _ends_open(plain[-1]):  # the selection goes on
            plain.pop()
    texts = tuple(word.text for word in plain)
    arguments = [param for param in verb.params if isinstance(param, click.Argument)]
    for number, param in enumerate(arguments):
        if param.nargs == -1 or number == len(texts):
            return param, texts
    return None, texts


def call_line(name: str, /, *args: Any, **kwargs: Any) -> str:
    """The line that calls a verb with Python's arguments: the way from Python into the grammar.

    Positional arguments fill the verb's words in order, a list filling one that takes many. Keyword
    arguments name options or words; an option also goes by the name that its function gives it.

    Raises:
        UsageError: the verb has no such argument.
    """
    verb = find(name)
    given = dict(kwargs)
    values = list(args)
    plain: list[list[str]] = []
    options: list[str] = []
    for param in verb.params:
        key = key_of(param)
        if isinstance(param, click.Option):
            own = param.name if param.name in given and not _is_choice(param) else key
            options += _option_words(param, given.pop(key if key in given else own, None))
            continue
        if key in given:
            taken = [given.pop(key)]
        else:
            taken, values = (values, []) if param.nargs == -1 else (values[:1], values[1:])
        plain.append([text for value in taken for text in _texts(value)])
    if given or values:
        wrong = next(iter(given), None) or repr(values[0])
        raise UsageError(f"{name} takes no argument {wrong}", f"usage: {verb.usage}")
    return " ".join([name, *map(quoted, _without_gaps(verb, plain)), *options])


def _without_gaps(verb: Verb, plain: list[list[str]]) -> list[str]:
    """The words of all arguments in a row. Only the last can be left out; one before it is its default."""
    while plain and not plain[-1]:
        plain.pop()
    arguments = [param for param in verb.params if isinstance(param, click.Argument)]
    found: list[str] = []
    for param, texts in zip(arguments, plain, strict=False):
        if not texts and not isinstance(param.default, str | int | float):
            raise UsageError(f"{verb.name} needs {param.name} too", f"usage: {verb.usage}")
        found += texts or [str(param.default)]
    return found


def _option_words(option: click.Option, value: Any) -> list[str]:
    if value is False and option.secondary_opts:
        return [option.secondary_opts[0]]
    if value is None or (value is False and option.is_flag):
        return []
    if option.is_flag:
        return [option.opts[0]]
    values = value if option.multiple and not isinstance(value, str) else [value]
    return [word for one in values for word in (option.opts[0], quoted(_text(one)))]


def _texts(value: Any) -> list[str]:
    """A value as words; neurons in a row are one word, a selection."""
    if value is None:
        return []
    if not isinstance(value, list | tuple | range):
        return [_text(value)]
    if value and all(isinstance(one, Neuron) for one in value):
        return [",".join(map(str, value))]
    return [_text(one) for one in value]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, range):
        return f"{value.start}-{value.stop - 1}"
    return f"{value[0]}-{value[1]}" if isinstance(value, tuple) else str(value)
