"""The help of verbs in the words of Python, from the same declarations as the help of the command line.

    discover " Austin" --vs " Houston" --top 100        is        wb.discover(" Austin", vs=" Houston", top=100)

A verb's docstring has its help, its parameters with their types, the result that it returns, and its examples as calls.
Options in a sentence, `--top N`, become parameters, `top=N`, and lines of commands become calls.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import click

from commands import grammar
from commands.choices import OneOf, SettingValue
from commands.request import Arg, Argument, Field, Flag, Flags, Opt, Request, fields_of
from commands.verb import VERBS, Verb, actions_of, key_of
from commands.words import Gain, NumberWord, Prose, Real, Statement, SweptWord, Whole
from workbench.signatures import method_name, python_name, signature

#: Columns of a line, and what stands for a blank inside of a call until lines are broken.
_WIDTH, _GLUE = 100, "\u00a0"
_OPTION = re.compile(r"--[a-z][a-z-]*")
#: A word behind an option that is its value, and not the next word of the sentence: `N`, `preset:NAME`, `0.1-`, `-1`.
_VALUE = re.compile(r"[A-Z][A-Z.]*(?![a-z])|-?\d[\w.*+,=-]*|[\w.*+,]*[:*+=,][\w.*+,:=-]*\w")
_WORD = re.compile(r'"[^"]*"|\'[^\']*\'|[^\s;()]+')
#: What ends a word without being part of it.
_ENDS = ",.:;`"
_RAISES = "WorkbenchError: it cannot be done. The message says why and what to do instead; the session is as before."


def documentation(verb: Verb) -> str:
    """The docstring of a verb's method."""
    parts = [in_python(paragraph, verb) for paragraph in (verb.help or "").split("\n\n")]
    for group, params in _groups(verb).items():
        title = f"Args, {group[0].lower()}{group[1:]}:" if group else "Args:"
        parts.append("\n".join([title, *_parameters(verb, params)]))
    parts.append("\n".join(["Returns:", *(_indented(line) for line in _results(verb))]))
    parts.append(f"Raises:\n{_indented(_RAISES)}")
    calls = dict.fromkeys(filter(None, map(call, verb.examples)))
    parts.append("\n".join(["Example:" if len(calls) == 1 else "Examples:", *(f"    {each}" for each in calls)]))
    return "\n\n".join(parts)


def documentation_of_head(head: str) -> str:
    """The docstring of the method of a first word that several verbs share: `wb.atlas("build", …)`."""
    lines = []
    for action, verb in actions_of(head).items():
        lines += [f'    "{action}", as {method_name(str(verb.name))}(…): {in_python(verb.summary, verb)}.']
    examples = (f"    {found}" for verb in actions_of(head).values() if (found := call(verb.example)))
    return "\n".join([f"{head}, one of several actions:", "", *lines, "", "Examples:", *examples])


def call(line: str, name: str = "wb") -> str:
    """The call in Python that does what a line does; '' if the line is none.

    call('discover " Austin" --top 50')        # wb.discover(" Austin", top=50)
    """
    understood = grammar.understood(line)
    if understood is None:
        return ""
    request = understood.request
    typed = {word.text for word in grammar.words_of(line)[1:]}
    words: list[str] = []
    options: list[str] = []
    for field in fields_of(type(request)):
        value = field.of(request)
        if value is None or (value == field.default and not _is_typed(field, value, typed)):
            continue
        if isinstance(field.mark, Arg):
            words += _words(field.mark, value)
        else:
            options.append(_option(request, field, value))
    return f"{name}.{method_name(request.verb_name)}({', '.join([*words, *options])})"


def _is_typed(field: Field, value: Any, typed: Collection[str]) -> bool:
    """Whether a word at its default stands in the line."""
    return isinstance(field.mark, Arg) and not field.mark.many and field.mark.word.said(value) in typed


def _words(mark: Arg, value: Any) -> list[str]:
    if isinstance(mark.word, Prose) and mark.many:
        return [_literal(" ".join(mark.word.said(each) for each in value))] if value else []
    return [_value(mark.word, each) for each in (value if mark.many else (value,))]


def _option(request: Request, field: Field, value: Any) -> str:
    mark = field.mark
    key = python_name(request.typed(field.name).removeprefix("--").replace("-", "_"))
    if isinstance(mark, Flag | Flags):
        return f"{key}={value is not False}"
    assert isinstance(mark, Opt)
    if not mark.many:
        return f"{key}={_value(mark.word, value)}"
    values = [_value(mark.word, each) for each in value]
    return f"{key}={values[0] if len(values) == 1 else '[' + ', '.join(values) + ']'}"


def _value(word: Any, value: Any) -> str:
    text = str(word.said(value))
    numeric = isinstance(word, Whole | Real | NumberWord | Gain) or (
        isinstance(word, SweptWord | Statement | SettingValue) and _is_number(text) and not text.startswith("+")
    )
    return text if numeric else _literal(text)


def _literal(text: str) -> str:
    """A text in double quotes, as this house writes Python."""
    return f'"{text}"' if text.isprintable() and '"' not in text and "\\" not in text else repr(text)


def in_python(text: str, verb: Verb) -> str:
    """A paragraph of a verb's help, its options and lines in the words of Python."""
    translated = _translated(" ".join(text.split()), verb)
    return _filled(translated)


def _translated(text: str, verb: Verb) -> str:
    """The text with lines of commands as calls, and single options as parameters. `_GLUE` holds these together."""
    done, rest = "", text
    chained = False  # behind an option with its value
    while (found := _OPTION.search(rest)) is not None:
        line = _line_around(rest, found.start())
        if line is not None:
            start, end = line
            made, stop = call(rest[start:end]), end
        else:
            start = found.start()
            made, stop, valued = _parameter(rest, found, verb, chained and start == 1)
            chained = valued
        done += rest[:start] + made.replace(" ", _GLUE)
        rest = rest[stop:]
    return done + rest


def _line_around(text: str, option: int) -> tuple[int, int] | None:
    """Start and end of a line of commands whose first option stands there; None if it is just an option."""
    heads = {verb.head for verb in VERBS.values()}
    for match in [*re.finditer(r'"[^"]*"|[^\s"`(]+', text[:option])][-4:]:
        end = _end_of_line(text, match.start(), option) if match[0] in heads else 0
        if end and call(text[match.start() : end]):
            return match.start(), end
    return None


def _end_of_line(text: str, start: int, option: int) -> int:
    """Where a line of commands ends in a sentence: after its last option and the value of that."""
    end = option
    for match in _WORD.finditer(text, option):
        word = match[0].rstrip(_ENDS)
        open_option = not call(text[start:end]) and bool(call(f"{text[start:end]} {word}"))
        if not (_OPTION.fullmatch(word) or open_option or _VALUE.fullmatch(word)):
            break
        end = match.start() + len(word)
        if word != match[0]:
            break
    return end if end > option else 0


def _parameter(text: str, found: re.Match[str], verb: Verb, chained: bool) -> tuple[str, int, bool]:
    """An option of a sentence as a parameter, where it ends in the sentence, and whether it has a value."""
    option = _named(found[0], verb)
    if option is None:
        return found[0], found.end(), False
    name = python_name(key_of(option))
    if option.is_flag:
        return f"`{name}={found[0] not in option.secondary_opts}`", found.end(), False
    behind = re.compile(rf"\s+({_WORD.pattern})").match(text, found.end())
    if behind is not None:
        word = behind[1].rstrip(_ENDS)
        known = word in (option.type.meanings if isinstance(option.type, OneOf) else ("zero", "mean"))
        followed = word == behind[1] not in ("and", "or") and text[behind.end() :].startswith(" --")
        if word and (known or followed or chained or _VALUE.fullmatch(word) or word[0] in "\"'"):
            plain = word[0] in "\"'" or _is_number(word) or (word.isupper() and word.isidentifier())
            return f"`{name}={word if plain else _literal(word)}`", behind.start(1) + len(word), True
    return f"`{name}`", found.end(), False


def _named(flag: str, verb: Verb) -> click.Option | None:
    """The option of that name, of this verb or else of another."""
    for each in (verb, *VERBS.values()):
        for param in each.params:
            if isinstance(param, click.Option) and flag in (*param.opts, *param.secondary_opts):
                return param
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _groups(verb: Verb) -> dict[str, list[click.Parameter]]:
    """The parameters by their headings, in the order of the signature."""
    groups: dict[str, list[click.Parameter]] = {"": []}
    for param in sorted(verb.params, key=lambda param: isinstance(param, click.Option)):
        groups.setdefault(getattr(param, "group", ""), []).append(param)
    return {group: params for group, params in groups.items() if params}


def _parameters(verb: Verb, params: Sequence[click.Parameter]) -> Iterator[str]:
    typed = signature(verb).parameters
    for param in params:
        name = python_name(key_of(param))
        given = typed[name]
        star = "*" if given.kind is inspect.Parameter.VAR_POSITIONAL else ""
        about = param.about if isinstance(param, Argument) else getattr(param, "help", "") or ""
        default = given.default
        shown = (
            ""
            if default in (inspect.Parameter.empty, None, False)
            else f" (default {_literal(default) if isinstance(default, str) else default})"
        )
        shown = "" if "(default" in about else shown
        yield _indented(f"{star}{name} ({given.annotation}): {_translated(about, verb)}{shown}")


def _results(verb: Verb) -> Iterator[str]:
    """Each kind of result with what it is and its fields."""
    for kind in sorted(verb.results(), key=lambda kind: kind.__name__):
        first = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
        about = re.sub(r"^(?:`[^`]*`(?:, | and )?)+[^:]*: ", "", first).rstrip(".")
        fields = ", ".join(name for name in kind.__struct_fields__ if name != "notes")
        yield f"{kind.__name__}: {about}. Its fields: {fields}." if fields else f"{kind.__name__}: {about}."


def _indented(text: str) -> str:
    """An entry of a section: its further lines are set in."""
    return _filled(text, " " * 4, " " * 8)


def _filled(text: str, first: str = "", later: str = "") -> str:
    """The text in lines of `_WIDTH`, their first and their later ones set in."""
    lines = textwrap.fill(
        text, _WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
    return lines.replace(_GLUE, " ")
