"""Who may come in: a browser that has shown the token, at the address that is served, from the page served there.

Every user of a machine reaches its 127.0.0.1, and so does every web page in a browser on it. Hence a token, always,
shown once in the URL and from then on as a cookie that no script can read and no other site sends; the Host header
looked at, so that a name that somebody made point here does not count; the Origin of what a page sends, so that no
other page can drive a browser that has the cookie.
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

#: A token that somebody chose: long enough not to be guessed, and the same in a URL and in a cookie.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,256}")
#: What every answer carries. Only what is served here is loaded or spoken to, and no other page can frame it.
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
    """The token to ask for: the one that was chosen, or a new one.

    Raises:
        ServeError: it is too easy, or the address is open to other machines and none was chosen.
    """
    if token is None:
        if not is_loopback(address):
            raise ServeError(
                f"{address} is open to other machines: anyone who reaches it runs commands as you",
                "leave --address out and use ssh -L, or choose a --token as well",
            )
        return secrets.token_urlsafe(32)
    if not _TOKEN.fullmatch(token):
        raise ServeError("the token is not 16 to 256 letters, digits, - or _", "leave it out, and one is made")
    return token


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it."""
    return address in (LOOPBACK, "localhost")


@dataclass(frozen=True)
class Auth:
    """What is asked of those who come.

    Attributes:
        address: the one listened at.
        port: the port listened at.
        token: what they must know.
    """

    address: str
    port: int
    token: str

    @property
    def url(self) -> str:
        """Where a browser gets in."""
        return f"http://{self._named}:{self.port}/?token={self.token}"

    @property
    def _named(self) -> str:
        """The address as it stands in a URL."""
        if _is_any(self.address):
            return socket.gethostname()
        return f"[{self.address}]" if ":" in self.address else self.address

    @property
    def cookie(self) -> str:
        """Name of the cookie. Browsers do not tell ports apart, and two may be served at once."""
        return f"workbench-{self.port}"

    def serves(self, host: str | None) -> bool:
        """Whether a Host header is of what is served here, and not a name that was made to point at it."""
        name, port = _parted(host or "")
        if port != self.port:
            return False
        if is_loopback(self.address):
            return name in (LOOPBACK, "localhost")
        if _is_any(self.address):
            return _is_number(name) or name in ("localhost", socket.gethostname().lower(), socket.getfqdn().lower())
        return name == self.address.lower()

    def opens(self, shown: str) -> bool:
        """Whether that is the token; as slow for one that is nearly right as for any other."""
        return secrets.compare_digest(shown.encode(errors="replace"), self.token.encode())

    def admitted(self, request: web.Request) -> bool:
        """Whether a request comes from a browser that was let in, and from the page it was given."""
        origin = request.headers.get("Origin")
        if origin != f"http://{request.host}" and (origin is not None or _is_websocket(request)):
            return False
        return self.opens(request.cookies.get(self.cookie, ""))

    def guard(self) -> Middleware:
        """What stands before every path."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self.serves(request.headers.get("Host")):
                return _refused(f"this is served as http://{self._named}:{self.port}, not as what you asked for")
            if request.path == "/" and "token" in request.query:
                return self._welcome(request)
            if not self.admitted(request):
                return _refused("the URL that workbench serve has printed, with its token, lets you in")
            return await handler(request)

        return guarded

    def _welcome(self, request: web.Request) -> web.Response:
        """The token for a cookie, and a URL without it."""
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
    """Name and port of a Host header; port 0 where it is none."""
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
