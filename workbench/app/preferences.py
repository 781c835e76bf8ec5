"""A user's preferences for the app: `app.toml` in the home.

    theme = "light"
    mouse = false

    [keys]
    "app.palette" = "ctrl+k"
    "neurons.mark" = "space,x"

Entries with errors are reported; all others apply.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from sessions.errors import ArtifactError
from sessions.files.disk import read_file, write_file
from sessions.lines import quoted
from workbench.app.bindings import split
from workbench.app.themes import THEMES

FILE = "app.toml"
_MODIFIERS = ("ctrl", "alt", "shift", "super", "meta", "hyper")
#: For these keys, terminals send the same bytes as for enter, tab and backspace.
_ALIKE = {"ctrl+m": "enter", "ctrl+i": "tab", "ctrl+h": "backspace", "ctrl+enter": "enter", "shift+enter": "enter"}
_NAMED = {key.value for key in Keys if key.value.isidentifier()} | set(KEY_NAME_REPLACEMENTS.values())
_THEME_LINE = re.compile(r"^[ \t]*theme[ \t]*=.*$", re.MULTILINE)
_TABLE_LINE = re.compile(r"^[ \t]*\[", re.MULTILINE)


@dataclass(frozen=True)
class Preferences:
    """`theme` is "" if the terminal decides. `wrong` lists the entries that do not apply, and why."""

    theme: str = ""
    mouse: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)
    wrong: Sequence[str] = ()


def read(home: Path, bindings: Mapping[str, str]) -> Preferences:
    """Read the preferences of a home.

    Args:
        home: the folder of `app.toml`.
        bindings: the keys of every binding, by its id.
    """
    path = home / FILE
    if not path.exists():
        return Preferences()
    try:
        entries = tomllib.loads(read_file(path).decode())
    except ArtifactError as error:
        return Preferences(wrong=(error.message,))
    except ValueError as error:  # invalid TOML, or invalid UTF-8
        return Preferences(wrong=(f"{path}: {error}",))
    wrong = [f"{path}: unknown entry {key}; entries: theme, mouse, [keys]" for key in entries if key not in _ENTRIES]
    theme, mouse, keys = (entries.get(key, default) for key, default in _ENTRIES.items())
    if theme not in ("", *THEMES):
        wrong.append(f"{path}: unknown theme {theme!r}; themes: {', '.join(THEMES)}")
        theme = ""
    if not isinstance(mouse, bool):
        wrong.append(f"{path}: mouse must be true or false, not {mouse!r}")
        mouse = True
    if not isinstance(keys, dict):
        wrong.append(f"{path}: [keys] must be a table of ids and keys")
        keys = {}
    good, bad = _checked(keys, bindings)
    return Preferences(theme, mouse, good, (*wrong, *(f"{path}: [keys] {reason}" for reason in bad)))


_ENTRIES: Mapping[str, Any] = {"theme": "", "mouse": True, "keys": {}}


def _checked(keys: Mapping[str, Any], bindings: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The entries of [keys] that apply, and what is wrong with the others."""
    faults = {name: _fault(name, given, bindings) for name, given in keys.items()}
    wrong = [fault for fault in faults.values() if fault]
    good = {name: ",".join(split(keys[name])) for name, fault in faults.items() if not fault}
    while clashing := next(((name, clash) for name in reversed(good) if (clash := _clash(name, bindings, good))), None):
        del good[clashing[0]]
        wrong.append(clashing[1])
    return good, wrong


def _fault(name: str, given: Any, bindings: Mapping[str, str]) -> str:
    if name not in bindings:
        near = get_close_matches(name, bindings, 1)
        return f"unknown id {name!r}; " + (f"did you mean {near[0]!r}?" if near else "F1 shows the ids of all keys")
    if not isinstance(given, str) or not given.strip():
        return f"{name} needs keys in quotes, such as {quoted(bindings[name])!r}"
    for key in split(given):
        if key in _ALIKE:
            return f"{name}: {key} is the same as {_ALIKE[key]} to a terminal"
        if not _is_key(key):
            return f"{name}: unknown key {key!r}; keys are written f2, ctrl+p, alt+x, space, comma, y"
    return ""


def _is_key(key: str) -> bool:
    *modifiers, last = key.split("+") if len(key) > 1 else [key]
    return all(each in _MODIFIERS for each in modifiers) and (len(last) == 1 or last in _NAMED or _is_sign(last))


def _is_sign(name: str) -> bool:
    """Whether a name is that of a character, such as `comma` or `full_stop`."""
    try:
        return bool(unicodedata.lookup(name.replace("_", " ")))
    except KeyError:
        return False


def _clash(name: str, bindings: Mapping[str, str], chosen: Mapping[str, str]) -> str:
    """The conflict of a binding with another one of the same widget or of the app, or ''."""
    new = set(split(chosen[name])) - set(split(bindings[name]))
    owner = name.partition(".")[0]
    for other, keys in {**bindings, **chosen}.items():
        near = other.partition(".")[0]
        if other != name and (near == owner or "app" in (near, owner)):
            for key in new & set(split(keys)):
                return f"{name}: {key} is the key of {other}; give {other} another key too"
    return ""


def keep_theme(home: Path, name: str) -> None:
    """Write a theme to the file; the rest of the file stays as it is.

    Raises:
        ArtifactError: the file cannot be read or written.
    """
    path = home / FILE
    text = read_file(path).decode(errors="surrogateescape") if path.exists() else ""
    line = f'theme = "{name}"'
    table = _TABLE_LINE.search(text)
    head, rest = (text[: table.start()], text[table.start() :]) if table else (text, "")
    head = _THEME_LINE.sub(line, head, count=1) if _THEME_LINE.search(head) else f"{line}\n{head}"
    write_file(path, (head + rest).encode(errors="surrogateescape"), force=True)
