"""`SearchedPane`: a pane of lines whose content is narrowed by typing after `/`, shown in its frame."""

from __future__ import annotations

from textual import events

from workbench.app.scroll_pane import ScrollPane
from workbench.app.typed_text import after_key, after_paste
from workbench.writing import inline


class SearchedPane(ScrollPane):
    """A pane whose content can be narrowed by typing. Keys go to the search while `typing`.

    The pane shows `search_note` and narrows its content in `search_changed`.
    """

    searched = ""
    typing = False

    def search_changed(self) -> None:
        """Narrow the content to what has the text `searched`; all of it if that is empty."""
        raise NotImplementedError

    def search_note(self, shown: int) -> str:
        """The search, and how much of the content has it."""
        return f"/{inline(self.searched)}{'▏' if self.typing else ''} {shown:,}"

    def action_search(self) -> None:
        self._type(True)
        self.search_changed()

    def action_unsearch(self) -> None:
        self._type(False)
        self._search("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "unsearch" or bool(self.searched)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self.typing and character is not None and character.isprintable()

    def on_key(self, event: events.Key) -> None:
        if not self.typing:
            return
        if event.key == "escape":
            self.action_unsearch()
        elif event.key == "enter":
            self._type(False)
            self.search_changed()
        elif (text := after_key(self.searched, event)) is not None:
            self._search(text)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        if self.typing:
            event.stop()
            self._search(after_paste(self.searched, event.text))

    def on_blur(self) -> None:
        if self.typing:
            self._type(False)
            self.search_changed()

    def _type(self, typing: bool) -> None:
        if self.typing != typing:
            self.typing = typing
            self.refresh_bindings()

    def _search(self, text: str) -> None:
        if text != self.searched:
            self.searched = text
            self.search_changed()
