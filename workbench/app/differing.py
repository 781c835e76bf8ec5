"""Where two texts differ, word by word, and marks for the differences, which are characters and need no colour."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from rich.style import Style
from rich.text import Text

from workbench.writing import divergence

#: The most pairs of words that are compared; with more, all from the first to the last difference counts as different.
_MOST_PAIRS = 160_000
# Chinese, Japanese and Korean are compared by character: they have no spaces, or long words.
_EAST = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORDS = re.compile(rf"\s*(?:[{_EAST}][\u0300-\u036f\u3099\u309a\ufe00-\ufe0f]*|[^\s{_EAST}]+)")

Span = tuple[int, int]


def differing(before: str, after: str) -> tuple[list[Span], list[Span]]:
    """The parts of each text that are not in the other, as (start, end)."""
    left, right = list(_WORDS.finditer(before)), list(_WORDS.finditer(after))
    changes = _changes([word[0].strip() for word in left], [word[0].strip() for word in right])
    return (
        [_span(left[first:last]) for first, last, _, _ in changes if first < last],
        [_span(right[first:last]) for _, _, first, last in changes if first < last],
    )


def _changes(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int, int, int]]:
    """The ranges of words that differ, as (start, end) in the first text and (start, end) in the second."""
    shorter = min(len(before), len(after))
    start = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    longest = shorter - start
    end = next((n for n in range(longest) if before[-1 - n] != after[-1 - n]), longest)
    left, right = before[start : len(before) - end], after[start : len(after) - end]
    if not left and not right:
        return []
    if len(left) * len(right) > _MOST_PAIRS:
        return [(start, len(before) - end, start, len(after) - end)]
    codes = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
    return [(start + a, start + b, start + c, start + d) for tag, a, b, c, d in codes if tag != "equal"]


def _span(words: Sequence[re.Match[str]]) -> Span:
    """The characters from the first word, without leading blanks, to the end of the last."""
    return words[0].end() - len(words[0][0].strip()), words[-1].end()


def enclosed(text: str, spans: Iterable[Span], style: Style) -> Text:
    """The text with `‹…›` around the given parts."""
    marked, done = Text(overflow="fold"), 0
    for start, end in spans:
        marked.append(text[done:start])
        marked.append(f"‹{text[start:end]}›", style)
        done = end
    return marked.append(text[done:])


class Leaving:
    """Marks growing texts with `▸` where each departs from the first, and the first at the earliest such place."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def marked(self, texts: dict[str, str]) -> dict[str, str]:
        """The texts so far, with their marks."""
        first, *others = texts
        for name in others:
            if name not in self._places and not _agree(texts[first], texts[name]):
                self._places[name] = divergence(texts[first], texts[name])
        places = dict(self._places)
        if places:
            places[first] = min(places.values())
        return {name: _with_mark(text, places.get(name)) for name, text in texts.items()}


def _agree(one: str, other: str) -> bool:
    """Whether two growing texts may still become the same."""
    return one.startswith(other) or other.startswith(one)


def _with_mark(text: str, place: int | None) -> str:
    return text if place is None or place >= len(text) else f"{text[:place]}▸{text[place:]}"
