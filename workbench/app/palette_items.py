"""`PaletteItem`: an entry of the palette; and how entries are sifted by what is typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from textual.fuzzy import Matcher

from commands import grammar

#: Letters from which on options of verbs are found, and the most that are shown.
_OPTION_FROM, _MOST_OPTIONS = 3, 6


@dataclass(frozen=True)
class PaletteItem:
    """An entry of the palette: a line to run, the beginning of a line to type, or an action of the app.

    `synonyms` are other words that find it. `group` is the heading it stands under while nothing is typed; without one
    it is then left out. `missing` is what it lacks, such as `no circuit`.
    """

    name: str
    about: str
    line: str = ""
    typed: str = ""
    action: str = ""
    synonyms: tuple[str, ...] = ()
    group: str = ""
    missing: str = ""

    @property
    def described(self) -> str:
        """What it lacks and what it is."""
        return f"{self.missing} · {self.about}" if self.missing else self.about


def most_used(items: Sequence[PaletteItem], uses: Mapping[str, int], most: int) -> list[PaletteItem]:
    """The items whose names were used most, the most used first."""
    used = [item for item in items if uses.get(item.name)]
    return sorted(used, key=lambda item: -uses[item.name])[:most]


def sifted(items: Sequence[PaletteItem], query: str, uses: Mapping[str, int] | None = None) -> list[PaletteItem]:
    """The items that match the query, the best first; before them the query itself if it is a complete line.

    Names come before synonyms, these before options, and these before loose matches; among equals, what was used more
    comes first. Without a query these are the items that have a group.
    """
    query, used = query.strip(), uses or {}
    if not query:
        return [item for item in items if item.group]
    matcher, meant = Matcher(query), query.casefold()
    ranked = [(*_rank(item, meant, matcher.match), item) for item in items]
    matches = [each for each in ranked if each[0] < _NONE]
    matches.sort(key=lambda each: (each[0], -used.get(each[2].name, 0), -each[1]))
    options = [each for each in matches if not each[2].group][_MOST_OPTIONS:]
    found = [_found_by(item, meant) for rank, score, item in matches if (rank, score, item) not in options]
    runs = grammar.understood(query) is not None
    return [PaletteItem(query, "run this line", line=query), *found] if runs else found


#: The rank of an item that does not match.
_NONE = 9


def _rank(item: PaletteItem, query: str, score: Callable[[str], float]) -> tuple[int, float]:
    """How well an item matches, 0 best, and its score among equals."""
    name = item.name.casefold()
    if not item.group:  # an option of a verb
        option = name.rpartition("--")[2]
        return (5 if len(query) >= _OPTION_FROM and option.startswith(query.removeprefix("--")) else _NONE), 0.0
    fuzzy = score(item.name)
    if name == query:
        return 0, fuzzy
    if query in item.synonyms:
        return 1, 0.0
    if name.startswith(query):
        return 2, fuzzy
    if any(word.startswith(query) for word in name.replace("-", " ").split()):
        return 3, fuzzy
    if _synonym(item, query):
        return 4, 0.0
    if fuzzy > 0:
        return 6, fuzzy
    return (7 if query in item.about.casefold() else _NONE), 0.0


def _synonym(item: PaletteItem, query: str) -> str:
    """The synonym of an item that begins, or has a word that begins, with the query; "" if none does."""
    begins = (each for each in item.synonyms if each.startswith(query) or f" {query}" in f" {each}")
    return next(begins, "")


def _found_by(item: PaletteItem, query: str) -> PaletteItem:
    """The item; where only a synonym matches, that is said."""
    if not item.group or any(word.startswith(query) for word in (item.name, *item.name.replace("-", " ").split())):
        return item
    synonym = _synonym(item, query)
    return replace(item, about=f"{synonym}: {item.about}") if synonym else item
