"""`workbench serve`: the app in a browser, through textual-serve.

`auth` decides which requests are admitted, `page` is the HTML page, `tab` the app behind one browser tab, `server`
joins them. Nothing here needs a model: each tab is a client of the host, like a terminal.
"""

from __future__ import annotations

from sessions.errors import WorkbenchError

LOOPBACK = "127.0.0.1"
PORT = 8000


class ServeError(WorkbenchError):
    """The app cannot be served with these options."""

    kind = "serve"
