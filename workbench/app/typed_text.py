"""A short text that is typed into a pane, such as a search: what a key and a paste make of it."""

from __future__ import annotations

from textual import events

#: The most characters of a paste.
_LONGEST = 200


def after_key(text: str, event: events.Key) -> str | None:
    """The text after a key; None if the key does not change texts."""
    match event.key:
        case "backspace" | "ctrl+h":
            return text[:-1]
        case "ctrl+u":
            return ""
        case "ctrl+w":
            return text.rstrip().rpartition(" ")[0]
    return text + event.character if event.character is not None and event.is_printable else None


def after_paste(text: str, pasted: str) -> str:
    """The text after a paste, which becomes one line."""
    return text + " ".join(pasted[:_LONGEST].split())
