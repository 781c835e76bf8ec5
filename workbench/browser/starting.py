"""Starts the web server, or says which packages it needs."""

from __future__ import annotations

from pathlib import Path

from workbench.browser import LOOPBACK, PORT, ServeError

#: Packages that only the web server needs.
_NEEDED = ("textual_serve", "aiohttp")


def serve(name: str, home: Path | None, port: int = PORT, address: str = LOOPBACK, token: str | None = None) -> None:
    """Serve the app until SIGINT, SIGTERM or SIGHUP.

    Args:
        name: the host that all tabs attach to.
        home: folder of saved artifacts; None for the user's data folder.
        port: the port; 0 for any free one.
        address: the address; one that other machines can reach needs a token.
        token: the token that a browser must present; None for a new one.

    Raises:
        WorkbenchError: the app cannot be served with these options, or no host can have that name.
    """
    try:
        from workbench.browser import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise ServeError("textual-serve is not installed", "pip install 'neuron-workbench[serve]'") from None
    server.serve(name, home, port, address, token)
