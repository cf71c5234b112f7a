"""Ranges of a file over HTTP/1.1: one connection that is kept, redirects, proxies, retries."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import os
import re
import ssl
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from lvc.errors import MediaError
from lvc.remote.retry import TIMEOUT, TemporaryFailure, attempts
from lvc.remote.store import HEAD_BYTES

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
# what may be wrong with a connection now and right with the next one; OSError has time-outs and resets
_CONNECTION_ERRORS = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class _Url:
    scheme: str
    host: str
    port: int | None
    target: str
    authorization: str | None

    @classmethod
    def of(cls, address: str) -> _Url:
        """Raises `MediaError` for what is no address of a file on a web server."""
        try:
            parts = urllib.parse.urlsplit(address)
            port = parts.port
        except ValueError as error:
            raise MediaError(f"is no address ({error}) — check it") from error
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
            raise MediaError("is no address of a file on a web server — check it")
        path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = urllib.parse.quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]")
        authorization = None
        if parts.username is not None:
            user = urllib.parse.unquote(parts.username) + ":" + urllib.parse.unquote(parts.password or "")
            authorization = "Basic " + base64.b64encode(user.encode()).decode()
        host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
        return cls(parts.scheme.lower(), host, port, f"{path}?{query}" if query else path, authorization)

    @property
    def origin(self) -> tuple[str, str, int | None]:
        return self.scheme, self.host, self.port


class _Connection:
    """The connection to one server, perhaps through a proxy of the environment (`https_proxy`, `no_proxy`)."""

    def __init__(self, url: _Url, timeout: float) -> None:
        self.origin = url.origin
        self._prefix = ""
        self.headers: dict[str, str] = {}
        proxy = None
        if not urllib.request.proxy_bypass(url.host):
            proxy = urllib.request.getproxies().get(url.scheme)
        where = _Url.of(proxy if "://" in proxy else f"http://{proxy}") if proxy else url
        secure = url.scheme == "https"
        kind: Any = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        options = {"context": ssl.create_default_context()} if secure else {}
        port = where.port or (None if where is url else 80)
        self._http = kind(where.host, port, timeout=timeout, **options)
        if proxy:
            through = {"Proxy-Authorization": where.authorization} if where.authorization else {}
            if secure:
                self._http.set_tunnel(url.host, url.port, through)
            else:
                host = f"[{url.host}]" if ":" in url.host else url.host
                self._prefix = f"http://{host}" + (f":{url.port}" if url.port else "")
                self.headers = through

    def get(self, target: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._http.request("GET", self._prefix + target, headers=headers | self.headers)
        response: http.client.HTTPResponse = self._http.getresponse()
        return response

    def close(self) -> None:
        self._http.close()


class HttpStore:
    """A file on a web server that answers requests for ranges. `open_http` makes one.

    A file that changes while it is read is noticed by its size, ETag or date. Raises `MediaError`.
    """

    size: int
    identity: str | None

    def __init__(self, address: str, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> None:
        self.address = address
        self._url = _Url.of(address)
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._connection: _Connection | None = None
        self._pid = os.getpid()

    def first(self) -> bytes | http.client.HTTPResponse:
        """The first bytes, after which `size` and `identity` are known; or, from a server without ranges, the whole
        answer, still to be read."""
        return attempts(self._first)

    def _first(self) -> bytes | http.client.HTTPResponse:
        response = self._get(f"bytes=0-{HEAD_BYTES - 1}")
        if response.status == 416:  # there is no first byte
            self.size, self.identity = 0, None
            self._body(response, None)
            return b""
        found = _RANGE.fullmatch(response.getheader("Content-Range", ""))
        if response.status == 206 and found is not None and int(found[1]) == 0:
            self.size, self.identity = int(found[3]), _identity(response)
            return self._body(response, int(found[2]) + 1)
        if response.status == 206:  # a range, but not of a file whose length is known
            self.close()
            response = self._get(None)
        return response

    def fetch(self, start: int, end: int) -> bytes:
        return attempts(lambda: self._range(start, end))

    def _range(self, start: int, end: int) -> bytes:
        response = self._get(f"bytes={start}-{end - 1}")
        if response.status != 206:
            self.close()
            raise MediaError("the server no longer gives ranges — try again")
        found = _RANGE.fullmatch(response.getheader("Content-Range", ""))
        if found is None or int(found[3]) != self.size or _identity(response) != self.identity:
            self.close()
            raise MediaError("the file was changed while it was read — start again")
        if (int(found[1]), int(found[2])) != (start, end - 1):
            self.close()
            raise TemporaryFailure("the server answers with another range than it was asked for")
        return self._body(response, end - start)

    def _get(self, wanted: str | None) -> http.client.HTTPResponse:
        """A response of status 200, 206 or 416; redirects are followed. Raises `MediaError`, `TemporaryFailure`."""
        url = self._url
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._ask(url, wanted)
            if response.status not in _REDIRECTS:
                self._check(response)
                return response
            location = response.getheader("Location", "")
            self._discard(response)
            target = urllib.parse.urljoin(f"{url.scheme}://{_netloc(url)}{url.target}", location)
            following = _Url.of(target)
            if url.scheme == "https" and following.scheme == "http":
                raise MediaError("the server sends lvc from https to http, which is not secure — check the address")
            url = following
        raise MediaError("the server redirects without end — check the address")

    def _ask(self, url: _Url, wanted: str | None) -> http.client.HTTPResponse:
        if self._pid != os.getpid():  # a connection of the process that this one was forked from is not ours
            self._connection, self._pid = None, os.getpid()
        if self._connection is None or self._connection.origin != url.origin:
            self.close()
            self._connection = _Connection(url, self._timeout)
        headers = {"Accept-Encoding": "identity", "User-Agent": "lvc"}
        if wanted is not None:
            headers["Range"] = wanted
        if url.origin == self._url.origin:  # what proves who we are is nobody else's
            headers |= self._headers
            if self._url.authorization:
                headers["Authorization"] = self._url.authorization
        elif url.authorization:
            headers["Authorization"] = url.authorization
        try:
            return self._connection.get(url.target, headers)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise MediaError(
                f"the server cannot prove who it is ({error.verify_message}) — check the address"
            ) from error
        except _CONNECTION_ERRORS as error:
            self.close()
            raise TemporaryFailure(f"the server does not answer: {_reason(error)}") from error

    def _check(self, response: http.client.HTTPResponse) -> None:
        status = f"{response.status} {response.reason}".strip()
        if response.status in (200, 206, 416):
            encoding = response.getheader("Content-Encoding", "identity")
            if encoding != "identity":
                self.close()
                raise MediaError(f"the server compresses the file ({encoding}) — have it sent as it is")
            return
        self._discard(response)
        if response.status in _LATER:
            raise TemporaryFailure(f"the server says {status}", _retry_after(response))
        advice = {404: "check the address", 410: "it is gone", 401: "give user and password, or a signed address"}
        raise MediaError(
            f"the server says {status} — {advice.get(response.status, 'check the address and your rights')}"
        )

    def _body(self, response: http.client.HTTPResponse, length: int | None) -> bytes:
        """What a response holds, `length` bytes of it."""
        try:
            data = response.read() if length is None else response.read(length)
            if length is not None and len(data) != length:
                raise http.client.IncompleteRead(data, length - len(data))
            response.read()  # the end of a chunked body
        except _CONNECTION_ERRORS as error:
            self.close()
            raise TemporaryFailure(f"the connection broke off: {_reason(error)}") from error
        if response.will_close:
            self.close()
        return data

    def _discard(self, response: http.client.HTTPResponse) -> None:
        """Reads what a short answer holds, so that the connection can be used again."""
        with contextlib.suppress(*_CONNECTION_ERRORS):
            if len(response.read(64 << 10)) < 64 << 10 and not response.will_close:
                return
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class HttpStream(io.RawIOBase):
    """The body of one response, from its beginning to its end. What is missing at the end raises `MediaError`."""

    def __init__(self, store: HttpStore, response: http.client.HTTPResponse) -> None:
        self._store, self._response = store, response
        length = response.getheader("Content-Length")
        self._left = int(length) if length is not None and length.isdigit() else None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: Any, /) -> int:
        try:
            count = self._response.readinto(buffer)
        except _CONNECTION_ERRORS as error:
            raise MediaError(f"the connection broke off ({_reason(error)}) — try again") from error
        if self._left is not None:
            self._left -= count
            if count == 0 and self._left > 0 and len(buffer):
                raise MediaError(f"the connection broke off, {self._left} bytes before the end — try again")
        return count

    def close(self) -> None:
        if not self.closed:
            self._response.close()
            self._store.close()
        super().close()


def _netloc(url: _Url) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port}" if url.port else host


def _identity(response: http.client.HTTPResponse) -> str | None:
    """What changes when the file does: a strong ETag, else the date of its last change."""
    tag = response.getheader("ETag")
    return tag if tag and not tag.startswith("W/") else response.getheader("Last-Modified")


def _retry_after(response: http.client.HTTPResponse) -> float:
    value = response.getheader("Retry-After", "")
    if value.isdigit():
        return float(value)
    with contextlib.suppress(ValueError, TypeError):
        date = parsedate_to_datetime(value)
        return max(0.0, date.timestamp() - parsedate_to_datetime(response.getheader("Date", "")).timestamp())
    return 0.0


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, http.client.IncompleteRead):
        return "bytes are missing"
    text = error.strerror if isinstance(error, OSError) else None
    return text or str(error) or type(error).__name__
