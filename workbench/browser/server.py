"""The server: one process of the app per admitted browser tab."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sys
from pathlib import Path

import textual_serve
from aiohttp import web

from workbench.browser import ServeError
from workbench.browser.auth import HEADERS, Auth, checked_token, is_loopback
from workbench.browser.page import START, page
from workbench.browser.tab import Tab, cells
from workbench.host.places import HostPaths

_STATIC = Path(textual_serve.__file__).parent / "static"
#: Seconds that all tabs together may take to end when the server ends.
_ENDING = 8.0


def serve(name: str, home: Path | None, port: int, address: str, token: str | None) -> None:
    """As `workbench.browser.starting.serve`."""
    place = HostPaths(home, name)
    token = checked_token(token, address)
    with listening(address, port) as listens:
        auth = Auth(address, listens.getsockname()[1], token)
        asyncio.run(_served(Served(place, auth), listens))


def listening(address: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ServeError: the address or the port cannot be used.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OverflowError:
        raise ServeError(f"invalid port {port}", "ports go from 0 to 65535") from None
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                raise ServeError(f"port {port} is taken", f"--port {port + 1}, or --port 0 for any") from None
            case errno.EACCES:
                raise ServeError(f"port {port} needs more rights than you have", "choose one above 1023") from None
        raise ServeError(f"{address} is no address of this machine: {error.strerror}", "leave --address out") from None


class Served:
    """The web server's state: authentication, and the open tabs. `words` is the command that each tab runs."""

    def __init__(self, place: HostPaths, auth: Auth) -> None:
        self.place, self.auth = place, auth
        # -P: do not import `commands` from the current folder.
        self.words = [sys.executable, "-P", "-m", "workbench", "--host", place.name, "--home", str(place.home)]
        self._tabs: set[Tab] = set()

    def application(self) -> web.Application:
        """The web application."""
        application = web.Application(middlewares=[self.auth.guard()])
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/start.js", self._start),
                web.get("/ws", self._tab),
                web.static("/static", _STATIC, show_index=False),
            ]
        )
        application.on_response_prepare.append(_add_headers)
        application.on_shutdown.append(self._end)
        return application

    async def _page(self, request: web.Request) -> web.Response:
        size = request.query.get("fontsize", "")
        return web.Response(text=page(f"workbench {self.place.name}", request.host, size), content_type="text/html")

    async def _start(self, _request: web.Request) -> web.Response:
        return web.Response(text=START, content_type="text/javascript")

    async def _tab(self, request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(heartbeat=15)
        await websocket.prepare(request)
        tab = Tab(self.words, websocket)
        self._tabs.add(tab)
        try:
            await tab.start(_side(request, "width", 80), _side(request, "height", 24))
            await tab.hear()
        finally:
            await asyncio.shield(asyncio.ensure_future(self._ended(tab)))
        return websocket

    async def _ended(self, tab: Tab) -> None:
        try:
            await tab.stop()
        finally:
            self._tabs.discard(tab)

    async def _end(self, _application: web.Application) -> None:
        await asyncio.gather(*(tab.stop() for tab in self._tabs))


async def _served(served: Served, listens: socket.socket) -> None:
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    # No access log: it would contain the token.
    runner = web.AppRunner(served.application(), access_log=None, shutdown_timeout=_ENDING)
    await runner.setup()
    await web.SockSite(runner, listens).start()
    _say(served)
    try:
        await over.wait()
    finally:
        await runner.cleanup()


def _say(served: Served) -> None:
    auth = served.auth
    print(f"open {auth.url}")
    if is_loopback(auth.address):
        print(
            f"from another machine: ssh -L {auth.port}:127.0.0.1:{auth.port} {socket.gethostname()}, and open it there"
        )
    else:
        print("anyone who has this URL can run commands as you, and the connection is not encrypted")
    print(f"ctrl-c ends the server; the session {served.place.name} keeps running", flush=True)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _side(request: web.Request, side: str, otherwise: int) -> int:
    """The width or height of the browser's terminal, in cells."""
    try:
        return cells(request.query.get(side, ""))
    except ValueError:
        return otherwise
