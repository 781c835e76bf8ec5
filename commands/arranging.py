"""Sort the words of a line into options, their values and plain words, and join the words of a selection.

An option starts with `--` outside quotes, so that a negative multiplier or a quoted "--word" is always just a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import click

from commands.line import LineWord
from commands.verb import Verb
from commands.words import SelectionWord
from sessions.circuits.selection import OPERATORS


def action_at(actions: dict[str, Verb], given: Sequence[LineWord]) -> int | None:
    """Index of the first word that is neither an option of one of these sub-verbs nor its value."""
    for at, word in enumerate(given if actions else ()):
        if not is_option(word) and not awaited(actions, given[:at]):
            return at
    return None


def awaited(actions: dict[str, Verb], given: Sequence[LineWord]) -> bool:
    """Whether the next word is the value of an option of one of these sub-verbs."""
    options = {name: option for verb in actions.values() for name, option in options_of(verb).items()}
    option = options.get(given[-1].text) if given and is_option(given[-1]) else None
    return option is not None and not option.is_flag


def takes_selection(verb: Verb) -> bool:
    return any(isinstance(param.type, SelectionWord) for param in verb.params)


def joined(plain: Iterable[LineWord]) -> list[LineWord]:
    """Join the words of a selection into one: `all - L24/*`, `L1/N2, L3/N4`, `(top10, L1/N2) & L1/*`."""
    groups: list[list[LineWord]] = []
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


def ends_open(word: LineWord) -> bool:
    """Whether a selection continues after this word."""
    return word.text[-1:] in OPERATORS or word.text.count("(") > word.text.count(")")


def _as_one(words: Sequence[LineWord]) -> LineWord:
    gaps = (" " * (word.start - before.end) for before, word in pairwise(words))
    rest = (piece for gap, word in zip(gaps, words[1:], strict=True) for piece in (gap, word.text))
    return LineWord("".join([words[0].text, *rest]), words[0].start, words[-1].end, words[0].quoted)


def options_of(verb: Verb) -> dict[str, click.Option]:
    """Every name of every option, `--greedy` of a `--sample/--greedy` pair included."""
    options = [param for param in verb.params if isinstance(param, click.Option)]
    return {name: param for param in options for name in (*param.opts, *param.secondary_opts)}


def is_choice(option: click.Option) -> bool:
    """Whether it is one of several flags that set the same parameter."""
    return option.is_flag and isinstance(option.flag_value, str)


def is_option(word: LineWord) -> bool:
    return word.text.startswith("--") and len(word.text) > 2 and not word.quoted
