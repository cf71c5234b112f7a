"""Byte ranges of a file over HTTP/1.1: a persistent connection, redirects, proxies, retries.

urllib3 speaks to the server, within stricter limits: no more of a response is read than was requested, none may be
slower than `LEAST_SPEED`, and the user's passwords and headers go only to the server of the URL.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import io
import os
import re
import socket
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, IncompleteRead, LocationValueError, SSLError
from urllib3.exceptions import TimeoutError as TimedOut
from urllib3.response import BaseHTTPResponse

from lvc.errors import MediaError
from lvc.remote.retry import TIMEOUT, TemporaryFailure, attempts
from lvc.remote.store import HEAD_BYTES

LEAST_SPEED = 1 << 10
"""The least average speed in bytes a second, after `TIMEOUT` seconds of grace for every response."""
_OVERHEAD = 256 << 10  # bytes of a response besides its content: the head, or the trailer of a chunked body
_CHUNKED = 8  # the most bytes per byte of content in chunked coding, with some slack
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429, 500, 502, 503, 504)
_NUMBER = re.compile("[0-9]{1,18}")
_RANGE = re.compile("bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
# errors that may not happen on the next connection; OSError covers time-outs and resets, ValueError the invalid
# numbers that Python's own client reports
_CONNECTION_ERRORS = (OSError, HTTPError, http.client.HTTPException, ValueError)


class _Raw(io.RawIOBase):
    """The bytes of one response from the socket; too slow, or more than `allow` permits, is an error."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._socket, self._timeout = sock, timeout
        self._file: Any = sock.makefile("rb", buffering=0)
        self._waited = 0.0
        self._received = 0
        self._most = _OVERHEAD

    def allow(self, count: int) -> None:
        """Permit `count` bytes of content."""
        self._most = self._received + _CHUNKED * count + _OVERHEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        left = self._timeout + self._received / LEAST_SPEED - self._waited
        if left <= 0:
            raise TimeoutError("timed out")
        if self._received >= self._most:
            raise MediaError("the server sent more than was requested — check the URL")
        self._socket.settimeout(min(self._timeout, left))
        started = time.monotonic()
        count: int = self._file.readinto(memoryview(buffer)[: self._most - self._received]) or 0
        self._waited += time.monotonic() - started
        self._received += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read through `raw`."""

    def __init__(self, sock: Any, *arguments: Any, raw: _Raw, **more: Any) -> None:
        super().__init__(sock, *arguments, **more)
        self.fp.close()
        self.fp = io.BufferedReader(raw)


class _Guarded:
    """Common to both kinds of connection."""

    raw: _Raw
    sock: Any
    timeout: Any
    response_class: Any

    def getresponse(self) -> Any:
        self.raw = _Raw(self.sock, self.timeout)
        self.response_class = functools.partial(_Response, raw=self.raw)
        try:
            return super().getresponse()  # type: ignore[misc]
        except BaseException:
            self.raw.close()
            raise


class _Http(_Guarded, HTTPConnection):
    pass


class _Https(_Guarded, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


@dataclass(frozen=True)
class _Url:
    """`address` without user and password, which are in `authorization`."""

    address: str
    origin: tuple[str, str, int | None]
    authorization: str | None

    @classmethod
    def of(cls, address: str) -> _Url:
        """Raises `MediaError` unless it is the URL of a file on a web server. The message does not contain it."""
        try:
            found = urllib3.util.parse_url(_ascii_host(address))
        except (LocationValueError, ValueError) as error:
            raise MediaError("is not a URL — check it") from error
        if found.scheme not in ("http", "https") or not found.host:
            raise MediaError("is not the URL of a file on a web server — check it")
        if any(not label or len(label) > 63 for label in found.host.rstrip(".").split(".")) and ":" not in found.host:
            raise MediaError("is not a URL: a part of the host name is empty or too long — check it")
        authorization = None
        if found.auth is not None:
            authorization = "Basic " + base64.b64encode(urllib.parse.unquote_to_bytes(found.auth)).decode()
        plain = found._replace(auth=None, fragment=None, path=found.path or "/")
        return cls(plain.url, (found.scheme, found.host, found.port), authorization)


def _ascii_host(address: str) -> str:
    """The URL with its host in ASCII: `bücher.example` becomes `xn--bcher-kva.example`."""
    match = re.fullmatch(r"([^/?#]*://(?:[^/?#]*@)?)([^/?#:@]*)(.*)", address, re.DOTALL)
    if match is None or match[2].isascii():
        return address
    return match[1] + match[2].encode("idna").decode() + match[3]


def _manager(scheme: str, host: str) -> urllib3.PoolManager:
    """Connections to one server, perhaps through a proxy of the environment (`https_proxy`, `no_proxy`)."""
    options: dict[str, Any] = {"maxsize": 1}
    if scheme == "https":
        options["ssl_context"] = ssl.create_default_context()
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
    if proxy:
        where = _Url.of(proxy if "://" in proxy else f"http://{proxy}")
        headers = {"Proxy-Authorization": where.authorization} if where.authorization else None
        manager: urllib3.PoolManager = urllib3.ProxyManager(where.address, proxy_headers=headers, **options)
    else:
        manager = urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return manager


class HttpStore:
    """A file on a web server that supports range requests; made by `open_http`.

    A change while it is read is detected by size, ETag or date. Raises `MediaError`.
    """

    size: int
    identity: str | None

    def __init__(self, address: str, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> None:
        self.address = address
        self._url = _Url.of(address)
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._manager: urllib3.PoolManager | None = None
        self._response: BaseHTTPResponse | None = None  # the last one, which may hold a connection
        self._origin: tuple[str, str, int | None] | None = None
        self._pid = os.getpid()

    def first(self) -> bytes | BaseHTTPResponse:
        """The first bytes, after which `size` and `identity` are known; or, from a server without range support, the
        whole response, not yet read."""
        return attempts(self._first)

    def _first(self) -> bytes | BaseHTTPResponse:
        response = self._get(f"bytes=0-{HEAD_BYTES - 1}")
        if response.status == 416:  # the file is empty
            self.size, self.identity = 0, None
            self._discard(response)
            return b""
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 206 and found is not None and int(found[1]) == 0:
            size, end = int(found[3]), int(found[2]) + 1
            if end != min(HEAD_BYTES, size):
                raise self._other_range()
            self.size, self.identity = size, _identity(response)
            return self._body(response, end)
        if response.status == 206:  # a range of a file of unknown length
            self.close()
            response = self._get(None)
            if response.status != 200:
                raise self._other_range()
        return response

    def fetch(self, start: int, end: int) -> bytes:
        return attempts(lambda: self._range(start, end))

    def _range(self, start: int, end: int) -> bytes:
        response = self._get(f"bytes={start}-{end - 1}")
        if response.status != 206:
            self.close()
            raise MediaError("the server stopped answering range requests — try again")
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or int(found[3]) != self.size or _identity(response) != self.identity:
            self.close()
            raise MediaError("the file changed while it was read — start again")
        if (int(found[1]), int(found[2])) != (start, end - 1):
            raise self._other_range()
        return self._body(response, end - start)

    def _other_range(self) -> TemporaryFailure:
        self.close()
        return TemporaryFailure("the server sent a different range than was requested")

    def _get(self, wanted: str | None) -> BaseHTTPResponse:
        """A response of status 200, 206 or 416; redirects are followed. Raises `MediaError`, `TemporaryFailure`."""
        url = self._url
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._ask(url, wanted)
            if response.status not in _REDIRECTS:
                self._check(response)
                return response
            location = response.headers.get("Location", "")
            self._discard(response)
            try:
                following = _Url.of(urllib.parse.urljoin(url.address, location))
            except (ValueError, MediaError) as error:
                raise MediaError("the server redirects to something that is not a URL — tell its operator") from error
            if url.origin[0] == "https" and following.origin[0] == "http":
                raise MediaError("the server redirects from https to http, which is insecure — check the URL")
            if following.origin == self._url.origin:  # with the user's headers for it, and no others
                following = replace(following, authorization=self._url.authorization)
            url = following
        raise MediaError("too many redirects — check the URL")

    def _ask(self, url: _Url, wanted: str | None) -> BaseHTTPResponse:
        if self._pid != os.getpid():  # a connection of the parent process must not be used after a fork
            self._manager, self._response, self._pid = None, None, os.getpid()
        if self._manager is None or self._origin != url.origin:
            self.close()
            self._manager, self._origin = _manager(*url.origin[:2]), url.origin
        headers = {"Accept-Encoding": "identity", "User-Agent": "lvc"}
        if wanted is not None:
            headers["Range"] = wanted
        if url.origin == self._url.origin:  # credentials are not sent to another server
            headers |= self._headers
        if url.authorization:
            headers["Authorization"] = url.authorization
        try:
            self._response = self._manager.urlopen(
                "GET", url.address, redirect=False, headers=headers, retries=False, preload_content=False,
                decode_content=False, timeout=urllib3.Timeout(connect=self._timeout, read=self._timeout),
            )  # fmt: skip
            return self._response
        except _CONNECTION_ERRORS as error:
            self.close()
            untrusted = next((e for e in _chain(error) if isinstance(e, ssl.SSLCertVerificationError)), None)
            if untrusted is not None:
                reason = untrusted.verify_message
                raise MediaError(f"the server's certificate is not valid ({reason}) — check the URL") from error
            raise TemporaryFailure(f"the server does not answer: {_reason(error)}") from error

    def _check(self, response: BaseHTTPResponse) -> None:
        if response.status in (200, 206, 416):
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                self.close()
                raise MediaError(f"the server compresses the file ({encoding[:40]}) — turn that off for it")
            return
        status = f"{response.status} {(response.reason or '')[:80]}".strip()
        self._discard(response)
        if response.status in _LATER:
            raise TemporaryFailure(f"the server answered {status}", _retry_after(response))
        advice = {404: "check the URL", 410: "it is gone", 401: "give user and password, or a signed URL"}
        raise MediaError(
            f"the server answered {status} — {advice.get(response.status, 'check the URL and your permissions')}"
        )

    def _body(self, response: BaseHTTPResponse, length: int) -> bytes:
        """`length` bytes, which has to be the whole response."""
        try:
            data = _read(response, length)
            if len(data) != length:
                raise EOFError("bytes are missing")
            if _read(response, 1):  # also reads the end of a chunked body
                self.close()
        except (*_CONNECTION_ERRORS, EOFError) as error:
            self.close()
            raise TemporaryFailure(f"the connection was lost: {_reason(error)}") from error
        except MediaError:
            self.close()
            raise
        return data

    def _discard(self, response: BaseHTTPResponse) -> None:
        """Read the rest of a short response, so that the connection can be reused."""
        length = response.headers.get("Content-Length", "")
        with contextlib.suppress(MediaError, *_CONNECTION_ERRORS):
            if (
                _NUMBER.fullmatch(length)
                and int(length) <= 64 << 10
                and len(_read(response, int(length) + 1)) <= 64 << 10
            ):
                return
        self.close()

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
        if self._manager is not None:
            self._manager.clear()
            self._manager = None


class HttpStream(io.RawIOBase):
    """The body of one response, as a stream. A short body raises `MediaError`."""

    def __init__(self, store: HttpStore, response: BaseHTTPResponse) -> None:
        self._store, self._response = store, response

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = _read(self._response, len(buffer))
        except _CONNECTION_ERRORS as error:
            raise MediaError(f"the connection was lost ({_reason(error)}) — try again") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._response.close()
            self._store.close()
        super().close()


def _read(response: BaseHTTPResponse, count: int) -> bytes:
    """At most `count` bytes of the content."""
    connection: Any = response.connection
    if connection is not None:
        connection.raw.allow(count)
    return response.read(count)


def _identity(response: BaseHTTPResponse) -> str | None:
    """The version of the file: a strong ETag, else its modification date."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _retry_after(response: BaseHTTPResponse) -> float:
    value = response.headers.get("Retry-After", "")
    if _NUMBER.fullmatch(value):
        return float(value)
    with contextlib.suppress(ValueError, TypeError, OverflowError, IndexError, OSError):
        date = parsedate_to_datetime(value)
        return max(0.0, date.timestamp() - parsedate_to_datetime(response.headers.get("Date", "")).timestamp())
    return 0.0


def _chain(error: BaseException) -> list[BaseException]:
    """An error and those it wraps; urllib3 puts them into arguments or causes."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < 10:
        one = waiting.pop(0)
        found.append(one)
        inner = [*getattr(one, "args", ()), one.__cause__, one.__context__]
        waiting += [e for e in inner if isinstance(e, BaseException) and e not in found]
    return found


def _reason(error: BaseException) -> str:
    """The reason in words of the operating system or lvc; those of libraries may contain the URL."""
    chain = _chain(error)
    if any(isinstance(e, (IncompleteRead, http.client.IncompleteRead, EOFError)) for e in chain):
        return "bytes are missing"
    if any(isinstance(e, (SSLError, ssl.SSLError)) for e in chain):
        return "no secure connection could be made"
    timed_out = any(isinstance(e, (TimeoutError, TimedOut)) for e in chain)
    told = (e.strerror for e in chain if isinstance(e, OSError) and e.strerror)
    return next(told, "timed out" if timed_out else "it violates HTTP")
