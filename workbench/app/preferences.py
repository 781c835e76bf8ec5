"""What a user has chosen for the app: `app.toml` in the home.

    theme = "light"
    mouse = false

    [keys]
    "app.palette" = "ctrl+k"
    "neurons.mark" = "space,x"

What is wrong in it is told, and everything else applies.
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
#: Terminals send the same for these as for enter, tab and backspace.
_ALIKE = {"ctrl+m": "enter", "ctrl+i": "tab", "ctrl+h": "backspace", "ctrl+enter": "enter", "shift+enter": "enter"}
_NAMED = {key.value for key in Keys if key.value.isidentifier()} | set(KEY_NAME_REPLACEMENTS.values())
_THEME_LINE = re.compile(r"^[ \t]*theme[ \t]*=.*$", re.MULTILINE)
_TABLE_LINE = re.compile(r"^[ \t]*\[", re.MULTILINE)


@dataclass(frozen=True)
class Preferences:
    """`theme` is empty where the terminal is to decide. `wrong` says what in the file does not apply, and why."""

    theme: str = ""
    mouse: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)
    wrong: Sequence[str] = ()


def read(home: Path, bindings: Mapping[str, str]) -> Preferences:
    """What the file of this home says.

    Args:
        bindings: the keys of every binding there is, by its id.
    """
    path = home / FILE
    if not path.exists():
        return Preferences()
    try:
        found = tomllib.loads(read_file(path).decode())
    except ArtifactError as error:
        return Preferences(wrong=(error.message,))
    except ValueError as error:  # of TOML, and of bytes that are no text
        return Preferences(wrong=(f"{path}: {error}",))
    wrong = [f"{path}: there is no {key}; there are theme, mouse and [keys]" for key in found if key not in _ENTRIES]
    theme, mouse, keys = (found.get(key, default) for key, default in _ENTRIES.items())
    if theme not in ("", *THEMES):
        wrong.append(f"{path}: theme {theme!r} is none of {', '.join(THEMES)}")
        theme = ""
    if not isinstance(mouse, bool):
        wrong.append(f"{path}: mouse is true or false, not {mouse!r}")
        mouse = True
    if not isinstance(keys, dict):
        wrong.append(f"{path}: [keys] is a table of ids and keys")
        keys = {}
    good, bad = _checked(keys, bindings)
    return Preferences(theme, mouse, good, (*wrong, *(f"{path}: [keys] {reason}" for reason in bad)))


_ENTRIES: Mapping[str, Any] = {"theme": "", "mouse": True, "keys": {}}


def _checked(keys: Mapping[str, Any], bindings: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The entries that can apply, and what is wrong with the others."""
    faults = {name: _fault(name, given, bindings) for name, given in keys.items()}
    wrong = [fault for fault in faults.values() if fault]
    good = {name: ",".join(split(keys[name])) for name, fault in faults.items() if not fault}
    while clashing := next(((name, found) for name in reversed(good) if (found := _clash(name, bindings, good))), None):
        del good[clashing[0]]
        wrong.append(clashing[1])
    return good, wrong


def _fault(name: str, given: Any, bindings: Mapping[str, str]) -> str:
    if name not in bindings:
        near = get_close_matches(name, bindings, 1)
        return f"there is no {name!r}; " + (f"did you mean {near[0]!r}?" if near else "F1 shows the ids of all keys")
    if not isinstance(given, str) or not given.strip():
        return f"{name} is keys between quotes, such as {quoted(bindings[name])!r}"
    for key in split(given):
        if key in _ALIKE:
            return f"{name}: {key} is the same as {_ALIKE[key]} to a terminal"
        if not _is_key(key):
            return f"{name}: {key!r} is no key; such as f2, ctrl+p, alt+x, space, comma, y"
    return ""


def _is_key(key: str) -> bool:
    *modifiers, last = key.split("+") if len(key) > 1 else [key]
    return all(each in _MODIFIERS for each in modifiers) and (len(last) == 1 or last in _NAMED or _is_sign(last))


def _is_sign(name: str) -> bool:
    """Whether it is the name of a character: `comma`, `full_stop`."""
    try:
        return bool(unicodedata.lookup(name.replace("_", " ")))
    except KeyError:
        return False


def _clash(name: str, bindings: Mapping[str, str], chosen: Mapping[str, str]) -> str:
    """Two bindings of one widget, or of the app and a widget, must not want the same key."""
    new = set(split(chosen[name])) - set(split(bindings[name]))
    owner = name.partition(".")[0]
    for other, keys in {**bindings, **chosen}.items():
        near = other.partition(".")[0]
        if other != name and (near == owner or "app" in (near, owner)):
            for key in new & set(split(keys)):
                return f"{name}: {key} is the key of {other}; give that another one as well"
    return ""


def keep_theme(home: Path, name: str) -> None:
    """Keep a theme in the file; the rest of it stays as it is.

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
