"""Authentication: which requests the server admits.

Every user of a machine can reach its 127.0.0.1, and so can every web page in a browser on it. Three checks keep them
out. A token is always required: it is given once in the URL, then kept in a cookie that no script can read and no other
site sends. The Host header must name the served address, which stops DNS rebinding. The Origin header must be the
served page, so that no other page can use a browser that has the cookie.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from workbench.browser import LOOPBACK, ServeError

#: A chosen token: too long to guess, and written alike in a URL and in a cookie.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,256}")
#: Headers of every response. The page may load from and connect to this server only, and no other page can frame it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self';"
        " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def checked_token(token: str | None, address: str) -> str:
    """The chosen token, or a new one.

    Raises:
        ServeError: the token is too short, or none was chosen and the address is open to other machines.
    """
    if token is None:
        if not is_loopback(address):
            raise ServeError(
                f"{address} is open to other machines: anyone who reaches it runs commands as you",
                "leave --address out and use ssh -L, or choose a --token as well",
            )
        return secrets.token_urlsafe(32)
    if not _TOKEN.fullmatch(token):
        raise ServeError("a token has 16 to 256 letters, digits, - or _", "leave out --token to have one made")
    return token


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    return address in (LOOPBACK, "localhost")


@dataclass(frozen=True)
class Auth:
    """The checks of requests.

    Attributes:
        address: the address that is served.
        port: the port that is served.
        token: the token that a browser must present.
    """

    address: str
    port: int
    token: str

    @property
    def url(self) -> str:
        """The URL with the token, to open in a browser."""
        return f"http://{self._named}:{self.port}/?token={self.token}"

    @property
    def _named(self) -> str:
        """The address as it is written in a URL."""
        if _is_any(self.address):
            return socket.gethostname()
        return f"[{self.address}]" if ":" in self.address else self.address

    @property
    def cookie(self) -> str:
        """The cookie's name. It has the port: browsers send a cookie to all ports, and two servers may run at once."""
        return f"workbench-{self.port}"

    def serves(self, host: str | None) -> bool:
        """Whether a Host header names the served address."""
        name, port = _parted(host or "")
        if port != self.port:
            return False
        if is_loopback(self.address):
            return name in (LOOPBACK, "localhost")
        if _is_any(self.address):
            return _is_number(name) or name in ("localhost", socket.gethostname().lower(), socket.getfqdn().lower())
        return name == self.address.lower()

    def opens(self, shown: str) -> bool:
        """Whether `shown` is the token, compared in constant time."""
        return secrets.compare_digest(shown.encode(errors="replace"), self.token.encode())

    def admitted(self, request: web.Request) -> bool:
        """Whether a request has the cookie, and comes from the served page."""
        origin = request.headers.get("Origin")
        if origin != f"http://{request.host}" and (origin is not None or _is_websocket(request)):
            return False
        return self.opens(request.cookies.get(self.cookie, ""))

    def guard(self) -> Middleware:
        """The middleware that checks every request."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self.serves(request.headers.get("Host")):
                return _refused(f"this server answers at http://{self._named}:{self.port} only")
            if request.path == "/" and "token" in request.query:
                return self._welcome(request)
            if not self.admitted(request):
                return _refused("open the URL with the token that workbench serve has printed")
            return await handler(request)

        return guarded

    def _welcome(self, request: web.Request) -> web.Response:
        """Set the cookie for a right token, and redirect to the URL without it."""
        if not self.opens(request.query["token"]):
            return _refused("that is not the token of this server; see what workbench serve has printed")
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict", path="/")
        return answer


def _refused(reason: str) -> web.Response:
    return web.Response(status=403, text=f"403: {reason}\n")


def _is_websocket(request: web.Request) -> bool:
    return "Upgrade" in request.headers


def _parted(host: str) -> tuple[str, int]:
    """Name and port of a Host header; port 0 if it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        port = 80 if parts.port is None else parts.port
    except ValueError:
        return "", 0
    return (parts.hostname or "", port) if parts.netloc == host and "@" not in host else ("", 0)


def _is_any(address: str) -> bool:
    return _is_number(address) and ipaddress.ip_address(address).is_unspecified


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
