"""What a word may mean that is no verb: by the synonyms that verbs declare, their options, and similar spelling."""

from __future__ import annotations

from difflib import get_close_matches

from commands.arranging import options_of
from commands.verb import VERBS, Verb

#: The most verbs that are suggested.
MOST = 3
#: The most words of a synonym: `turn off`, `fine tune`.
_LONGEST = 3
#: How alike a word and a synonym are, of 1, where the word is that synonym misspelt.
_MISSPELT = 0.8
#: What stops a command, which no verb does: a line waits until the one before it has ended.
STOPPING = ("cancel", "stop", "abort", "interrupt", "kill")


def suggestion(text: str) -> str:
    """What to type instead of a text that begins with no verb; it may go on: `turn off L24/*`."""
    words = text.casefold().split()
    first = words[0] if words else ""
    named = _by_synonym(words)
    if named:
        return _meant(named)
    if first in STOPPING:
        return "no verb stops a command: ctrl-c does, or esc in the app"
    having = [str(verb.name) for verb in VERBS.values() if f"--{first}" in options_of(verb)]
    if having:
        return f"--{first} is an option of {_listed(having, 'and')}"
    heads = dict.fromkeys(verb.head for verb in VERBS.values())
    near = get_close_matches(first, heads, 1)
    if near:
        return _meant(near)
    synonyms = {synonym for verb in VERBS.values() for synonym in verb.synonyms}
    misspelt = get_close_matches(first, sorted(synonyms), 1, _MISSPELT)
    near = _by_synonym(misspelt) or [head for head in heads if first and head.startswith(first[:3])][:1]
    return _meant(near) if near else "help lists all verbs"


def named_by(synonym: str) -> list[Verb]:
    """The verbs that declare this synonym, in the order of `help`."""
    return [verb for verb in VERBS.values() if synonym in verb.synonyms]


def _by_synonym(words: list[str]) -> list[str]:
    """The verbs that the first words mean, as many words as possible."""
    for count in range(min(len(words), _LONGEST), 0, -1):
        found = named_by(" ".join(words[:count]))
        if found:
            return [str(verb.name) for verb in found]
    return []


def _meant(names: list[str]) -> str:
    return f"did you mean {_listed(names, 'or')}?"


def _listed(names: list[str], word: str) -> str:
    """The first names in a row: `ablate, suppress or shift`."""
    *before, last = names[:MOST]
    return f"{', '.join(before)} {word} {last}" if before else last
