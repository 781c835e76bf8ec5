"""Results in a notebook: their views as HTML. Creating a `Workbench` registers this with IPython."""

from __future__ import annotations

import sys

from sessions.events import Value


def show_views() -> None:
    """Make the notebook that runs this code, if any, show each result by its view."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None and shell.display_formatter is not None:
        shell.display_formatter.formatters["text/html"].for_type(Value, html_of)


def html_of(value: Value) -> str:
    """The view of a result as HTML."""
    from sessions.views import view
    from sessions.views.html import to_html

    return to_html(view(value))
