"""Access control and security headers: a layer around the whole application."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # covers and previews that the player draws
        "media-src 'self' blob:",  # MediaSource needs it
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_READING = ("GET", "HEAD")
_WRITING = "/api/search"  # accepts an upload as a query; nothing is stored


class Guard:
    """`token` `None`: everybody who can reach the server may see everything, so it listens only on loopback.

    `names`: names that `Host` may contain beside addresses and `localhost`. A foreign page whose name resolves to this
    machine (DNS rebinding) sends its own name.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, port: int, names: Iterable[str] = ()) -> None:
        self._app = app
        self._token = token
        self._cookie = f"lvc-{port}"  # cookies ignore ports
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._refusal(Request(scope)) or self._entrance(Request(scope))
        await (answer or self._app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        method = request.method
        if method not in _READING and not (method == "POST" and request.url.path == _WRITING):
            return _said(405, "nothing can be changed here", {"allow": ", ".join(_READING)})
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return _said(421, "this server does not go by that name: use the address that lvc serve printed")
        if method == "POST":
            site = request.headers.get("sec-fetch-site")
            origin = request.headers.get("origin", "").partition("://")[2]  # for browsers without Sec-Fetch-Site
            if site not in (None, "same-origin", "none") or (site is None and origin not in ("", hosts[0])):
                return _said(403, "another site asks")
        return None

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.rpartition(":")[0] or host
        if name.lower().removesuffix(".") in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._token is not None or address.is_loopback

    def _entrance(self, request: Request) -> Response | None:
        """Return `None` if the request may pass. A page opened with the token gets it as a cookie, and a redirect to
        the address without it; players are served directly."""
        if self._token is None:
            return None
        given = request.query_params.get("token")
        if given is not None:
            if not _same(given, self._token):
                return _said(403, "this token is not the one that lvc serve printed")
            if "text/html" not in request.headers.get("accept", "") or request.method != "GET":
                return None
            rest = [(key, value) for key, value in parse_qsl(request.url.query) if key != "token"]
            # the raw path: decoding and encoding it again may change it
            path = request.scope.get("raw_path", b"/").decode("ascii", "replace")
            answer = RedirectResponse(_local(path) + (f"?{urlencode(rest)}" if rest else ""), 303)
            answer.set_cookie(
                self._cookie, self._token, httponly=True, samesite="strict", max_age=30 * 24 * 3600, path="/"
            )
            return answer
        if _same(_cookie(request, self._cookie), self._token):
            return None
        return _said(403, "open the address that lvc serve printed: it ends with a token")


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _cookie(request: Request, name: str) -> str:
    try:
        found = SimpleCookie(request.headers.get("cookie", "")[:4096]).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _local(path: str) -> str:
    """A path on this server: `//elsewhere` would name another one."""
    return "/" + path.lstrip("/\\")


def _said(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers)


def own_names(host: str) -> list[str]:
    """The names by which this machine may be addressed."""
    name = socket.gethostname().lower()
    names = [name, f"{name.partition('.')[0]}.local"]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        names.append(host)
    return names
