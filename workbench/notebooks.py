"""How a notebook shows results: by their views, as HTML. IPython is told so by whoever starts a `Workbench`."""

from __future__ import annotations

import sys

from sessions.events import Value


def show_views() -> None:
    """Let the notebook that runs here, if one does, show every result by its view."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None and shell.display_formatter is not None:
        shell.display_formatter.formatters["text/html"].for_type(Value, html_of)


def html_of(value: Value) -> str | None:
    """The view of a result as HTML; None, for its plain text, where the kind has no view."""
    from sessions.views import has_view, view
    from sessions.views.html import to_html

    return to_html(view(value)) if has_view(type(value)) else None
