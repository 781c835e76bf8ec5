"""`workbench serve`: the app in a browser, through textual-serve.

`auth` says who may come in, `page` what they get, `tab` is the app behind one browser tab, `server` ties them
together. Nothing in here needs a model: each tab is a client of the one host, as a terminal is.
"""

from __future__ import annotations

from sessions.errors import WorkbenchError

LOOPBACK = "127.0.0.1"
PORT = 8000


class ServeError(WorkbenchError):
    """The app cannot be served so."""

    kind = "serve"
