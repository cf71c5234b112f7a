"""Runs the server, from opening its socket to Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import secrets
import socket
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from lvc.errors import MediaError, UsageError
from lvc.serve.app import Settings, application
from lvc.serve.guard import own_names
from lvc.serve.library import Library
from lvc.serve.pages import address

_HEADER_BYTES = 16 << 10
FIRST_REQUEST = 20.0  # seconds in which a connection must send a request
KEEP_ALIVE = 5  # seconds in which it must send another one
_CONNECTIONS = 500
_IN_TERMINAL = ("www-browser", "links", "elinks", "lynx", "w3m")  # they would take over the terminal
_GRACE = 1  # seconds for open responses when the server stops


@dataclass(frozen=True)
class Served:
    """A running server: the address to open, and that for other machines."""

    address: str
    others: tuple[str, ...]
    token: str | None
    videos: int


class _Impatient(H11Protocol):
    """Closes connections whose request does not arrive in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(FIRST_REQUEST, self._hang_up)

    def _hang_up(self) -> None:
        if not getattr(self, "cycle", None):
            self.transport.close()


def serve(
    paths: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    open_browser: bool = False,
    transcode: bool | None = None,
    database: str | None = None,
    threads: int | None = None,
    notice: Callable[[str], object] | None = None,
    started: Callable[[Served], object] | None = None,
    start: float | None = None,
) -> None:
    """Serve files and folders until an interrupt, then return.

    `port` 0 takes any free port. Beyond loopback, access needs a token, which is part of the addresses. `start`: open
    the page of the first video at that time instead of the gallery. `transcode` and `database` as in `Settings`.
    `notice` is called with messages for the terminal. Raises `MediaError` for a path that does not exist or a port in
    use, and the errors of `lvc.search.Database`.
    """
    library = Library(paths)
    videos = len(library.items())
    listener = _listener(host, port)
    with contextlib.closing(listener):
        bound, port = listener.getsockname()[:2]
        local = ipaddress.ip_address(bound).is_loopback
        token = None if local else secrets.token_urlsafe(18)
        names = () if local else tuple(own_names(host))
        page = "/"
        if start is not None and videos:
            page = address("/watch/", next(iter(library.items())))
        served = _addresses(bound, port, token, videos, page, f"#t={start:g}" if start else "")
        settings = Settings(port, token, names, threads, transcode, notice or (lambda text: None), database)
        app = application(library, settings)
        server = _Server(_config(app.asgi))
        server.when_stopped = app.close
        if started is not None or open_browser:
            server.when_started = lambda: _tell(served, started, open_browser)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again at its end
            server.run(sockets=[listener])


class _Server(uvicorn.Server):
    when_started: Callable[[], object] | None = None
    when_stopped: Callable[[], object] | None = None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.when_stopped is not None:
            self.when_stopped()  # otherwise it would wait for their clients
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.when_started is not None:
            self.when_started()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=_Impatient, ws="none", loop="asyncio", lifespan="off", log_level="critical", access_log=False,
        server_header=False, proxy_headers=False, limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=_HEADER_BYTES, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=_GRACE,
    )  # fmt: skip


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise MediaError(f"this machine has no address {host!r} — use 127.0.0.1, 0.0.0.0 or one of its own") from error
    except OverflowError as error:
        raise UsageError(f"{port} is not a port — use 0 to 65535") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise MediaError(
                f"port {port} is taken — choose another with --port, or any free one with --port 0"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise MediaError(f"port {port} needs privileges — choose one above 1023 with --port") from error
        raise MediaError(f"{host}:{port} is not available ({error.strerror}) — check --host") from error
    return listener


def _addresses(bound: str, port: int, token: str | None, videos: int, page: str, time: str) -> Served:
    end = (page if token is None else f"{page}?token={token}") + time
    everywhere = ipaddress.ip_address(bound).is_unspecified
    own = "127.0.0.1" if everywhere else bound
    others = [f"http://{_bracketed(place)}:{port}{end}" for place in _lan_addresses()] if everywhere else []
    return Served(f"http://{_bracketed(own)}:{port}{end}", tuple(others), token, videos)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _lan_addresses() -> list[str]:
    """The address of this machine in its network. Nothing is sent."""
    found: list[str] = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
        found.append(probe.getsockname()[0])
    return [place for place in found if not ipaddress.ip_address(place).is_loopback]


def _tell(served: Served, started: Callable[[Served], object] | None, open_browser: bool) -> None:
    if started is not None:
        started(served)
    if open_browser:
        _open(served.address)


def _open(address: str) -> None:
    """Open the address in a browser, if there is one. It has been printed already."""
    with contextlib.suppress(webbrowser.Error):
        opener: Any = webbrowser.get()
        if getattr(opener, "name", "") not in _IN_TERMINAL:
            opener.open(address)
