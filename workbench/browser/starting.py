"""Starting to serve, or saying what is missing for it."""

from __future__ import annotations

from pathlib import Path

from workbench.browser import LOOPBACK, PORT, ServeError

#: What serving needs, and the rest of the workbench does not.
_NEEDED = ("textual_serve", "aiohttp")


def serve(name: str, home: Path | None, port: int = PORT, address: str = LOOPBACK, token: str | None = None) -> None:
    """Serve the app until SIGINT, SIGTERM or SIGHUP comes.

    Args:
        name: the host that all tabs attach to.
        home: folder of named artifacts; None for the user's own.
        port: where to listen; 0 for any that is free.
        address: where to listen; one that other machines reach needs a token.
        token: what those who come in must know; None for one that is made.

    Raises:
        WorkbenchError: it cannot be served so, or no host can have that name.
    """
    try:
        from workbench.browser import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise ServeError("textual-serve is not installed", "pip install 'neuron-workbench[serve]'") from None
    server.serve(name, home, port, address, token)
