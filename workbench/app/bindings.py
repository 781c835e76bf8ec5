"""Key bindings: their ids, by which a user's file replaces them, and how keys are written on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from textual.binding import Binding, BindingType

_SIGNS = {
    "space": "space", "escape": "esc", "pageup": "pgup", "pagedown": "pgdn", "up": "↑", "down": "↓", "left": "←",
    "right": "→", "question_mark": "?", "slash": "/", "solidus": "/", "colon": ":", "comma": ",", "full_stop": ".",
    "plus": "+", "minus": "-", "asterisk": "*", "less_than_sign": "<", "greater_than_sign": ">",
    "left_square_bracket": "[", "right_square_bracket": "]", "equals_sign": "=",
    "left_curly_bracket": "{", "right_curly_bracket": "}", "left_parenthesis": "(", "right_parenthesis": ")",
    "underscore": "_",
}  # fmt: skip


def bindings_of(kind: type) -> Iterator[Binding]:
    """The bindings with an id of a class and its base classes, without keys that a derived class binds again."""
    taken: set[str] = set()
    for base in kind.__mro__:
        declared: Sequence[BindingType] = base.__dict__.get("BINDINGS", ())
        here: set[str] = set()
        for binding in declared:
            if isinstance(binding, Binding):
                keys = [key for key in split(binding.key) if key not in taken]
                here.update(keys)
                if binding.id and keys:
                    yield binding.with_key(",".join(keys))
        taken |= here


def split(keys: str) -> list[str]:
    """The keys in `ctrl+p,f2`."""
    return [key.strip() for key in keys.split(",")]


def pressed(keys: str) -> str:
    """Keys as written on the screen: `^p`, `F2`, `esc`."""
    return " ".join(map(_pressed, split(keys)))


def _pressed(key: str) -> str:
    *modifiers, last = key.split("+") if len(key) > 1 else [key]
    sign = _SIGNS.get(last, last.upper() if last[:1] == "f" and last[1:].isdigit() else last)
    return "".join({"ctrl": "^"}.get(each, f"{each}-") for each in modifiers) + sign


def by_id(kinds: Iterable[type]) -> Mapping[str, str]:
    """The keys of every binding, by its id."""
    keys: dict[str, str] = {}
    for kind in kinds:
        for binding in bindings_of(kind):
            keys[str(binding.id)] = max(keys.get(str(binding.id), ""), binding.key, key=len)
    return keys
