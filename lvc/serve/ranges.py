"""Files over HTTP, in whole or a range of bytes (RFC 9110, section 14)."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import BinaryIO

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from lvc.errors import LvcError

_PIECE = 256 * 1024
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})", re.ASCII | re.IGNORECASE)


class Sending(StreamingResponse):
    """Streams an iterator and always releases it. An error on the way closes the connection, by which a client notices
    that the body is incomplete."""

    async def let_go(self) -> None:
        raise NotImplementedError

    def failed(self, error: Exception) -> None:
        """Called for an error that can no longer be reported to the client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except (LvcError, OSError) as error:
            self.failed(error)  # the server closes a connection whose body is incomplete
        finally:
            await self.let_go()


class FileAnswer(Sending):
    def __init__(self, file: BinaryIO, start: int, length: int, status: int, headers: dict[str, str]) -> None:
        self._file = file
        super().__init__(self._pieces(start, length), status, headers)

    async def _pieces(self, start: int, length: int) -> AsyncIterator[bytes]:
        def read(at: int, most: int) -> bytes:
            self._file.seek(at)
            return self._file.read(most)

        while length > 0:
            piece = await anyio.to_thread.run_sync(read, start, min(_PIECE, length))
            if not piece:
                raise OSError("the file has been cut short since")
            start, length = start + len(piece), length - len(piece)
            yield piece

    async def let_go(self) -> None:
        self._file.close()


def file_answer(request: Request, file: BinaryIO, status: os.stat_result, kind: str) -> Response:
    """The answer to GET or HEAD. A request for several ranges gets the whole file, as RFC 9110 allows. `file` is always
    closed."""
    size = status.st_size
    tag = f'"{status.st_mtime_ns:x}-{size:x}"'
    changed = formatdate(status.st_mtime, usegmt=True)
    headers = {
        "content-type": kind, "accept-ranges": "bytes", "etag": tag, "last-modified": changed,
        "cache-control": "private, no-cache",
    }  # fmt: skip
    asked = request.headers.get("if-none-match")
    if asked is not None and (asked.strip() == "*" or tag in [t.strip().removeprefix("W/") for t in asked.split(",")]):
        file.close()
        return Response(status_code=304, headers=headers)
    span: tuple[int, int] | None = None
    if request.headers.get("if-range", tag) in (tag, changed):
        span = asked_range(request.headers.get("range"), size)
    code, (start, stop) = (200, (0, size)) if span is None else (206, span)
    if span is not None and start >= stop:
        file.close()
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
    if span is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["content-length"] = str(stop - start)
    if request.method == "HEAD":
        file.close()
        return Response(status_code=code, headers=headers)
    return FileAnswer(file, start, stop - start, code, headers)


def asked_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Parse a `Range` header to [start, stop): empty if it starts after the end, `None` to send the whole file."""
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last N bytes
        return max(0, size - int(match[2])), size
    start, last = int(match[1]), int(match[2]) if match[2] else size - 1
    if match[2] and last < start:
        return None
    return start, min(size, last + 1) if start < size else start
