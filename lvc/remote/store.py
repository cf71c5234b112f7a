"""A file by byte ranges: from memory, from the cache on disk, or fetched."""

from __future__ import annotations

import io
import threading
import weakref
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Protocol

from lvc.remote.cache import DiskCache

HEAD_BYTES = 16 << 10
"""The first request: the descriptors of a `.lvz`. The response also tells the file's size."""
END_BYTES = 32 << 10
"""The next request: `TAIL`, and the index of about an hour with sound."""
_FIRST_WINDOW, _LAST_WINDOW = 256 << 10, 8 << 20
_LEAST = 4 << 10
_MEMORY = 32 << 20


class Store(Protocol):
    """A remote file. `identity` changes when its bytes do; None if that cannot be told."""

    address: str
    size: int
    identity: str | None

    def fetch(self, start: int, end: int) -> bytes:
        """Bytes `start` to `end` (exclusive), all of them. Raises `MediaError`. Called by one thread at a time."""
        ...

    def close(self) -> None: ...


class Extents:
    """Non-overlapping pieces of a file in memory. Above `_MEMORY` bytes the least recently read are dropped."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}  # in the order of use
        self._starts: list[int] = []
        self._bytes = 0

    def add(self, start: int, data: bytes) -> None:
        self._pieces[start] = data
        self._starts = sorted(self._pieces)
        self._bytes += len(data)
        while self._bytes > _MEMORY and len(self._pieces) > 1:
            oldest = next(iter(self._pieces))
            self._bytes -= len(self._pieces.pop(oldest))
            self._starts = sorted(self._pieces)

    def at(self, position: int, most: int) -> bytes:
        """Bytes from `position` on, at most `most`; empty if they are not in memory."""
        number = bisect_right(self._starts, position) - 1
        if number < 0:
            return b""
        start = self._starts[number]
        piece = self._pieces.pop(start)
        self._pieces[start] = piece
        return piece[position - start : position - start + most]

    def next_start(self, position: int) -> int | None:
        """Where the next piece after `position` begins."""
        number = bisect_right(self._starts, position)
        return self._starts[number] if number < len(self._starts) else None


class Shared:
    """A store and its fetched parts, shared by several `RangeFile`s, on any thread."""

    def __init__(self, store: Store, head: bytes = b"") -> None:
        self.store = store
        self.fetched_bytes, self.requests = len(head), int(bool(head))
        self._lock = threading.Lock()
        self._extents = Extents()
        self._disk = DiskCache.of(store.address, store.identity, store.size)
        if head:
            self._extents.add(0, head)
        weakref.finalize(self, store.close)

    def read(self, position: int, most: int, until: int) -> bytes:
        """1 to `most` bytes from `position` on (none at the end); missing ones are fetched up to `until`."""
        size = self.store.size
        if position >= size or most <= 0:
            return b""
        with self._lock:
            here = self._extents.at(position, most)
            if here:
                return here
            if position + most > size - END_BYTES and self._extents.next_start(size - END_BYTES - 1) is None:
                # the end is always needed: the index is there
                start = max(0, size - END_BYTES)
                self._load(start + len(self._extents.at(start, END_BYTES)), size)
                here = self._extents.at(position, most)
                if here:
                    return here
            following = self._extents.next_start(position)
            self._load(position, min(until, size, following if following is not None else size))
            return self._extents.at(position, most)

    def _load(self, start: int, end: int) -> None:
        """Bytes `start` to `end`, or fewer if the disk has some of them."""
        kept = self._disk.read(start, end) if self._disk is not None else b""
        if kept:
            self._extents.add(start, kept)
            return
        if self._disk is not None:
            end = self._disk.next_start(start, end)
        data = self.store.fetch(start, end)
        self.requests += 1
        self.fetched_bytes += len(data)
        self._extents.add(start, data)
        if self._disk is not None:
            self._disk.write(start, data)

    def close(self) -> None:
        with self._lock:
            self.store.close()


class RangeFile(io.RawIOBase):
    """A seekable file over a store, with a position of its own.

    `will_read` announces the bytes to be read: read-ahead stays within them and grows from 256 KiB to 8 MiB a request.
    Other bytes are fetched as they are read, in pieces of at least 4 KiB.
    """

    def __init__(self, shared: Shared, *, owns: bool = False) -> None:
        self.shared = shared
        self._owns = owns
        self._position = 0
        self._spans: list[tuple[int, int]] = []
        self._window = _FIRST_WINDOW
        self._expected = -1  # where a sequential fetch would start

    @property
    def size(self) -> int:
        return self.shared.store.size

    def will_read(self, spans: Sequence[tuple[int, int]]) -> None:
        """Spans `[start, end)` in ascending order, which replace those announced before."""
        self._spans = list(spans)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("the position is before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        data = self.shared.read(self._position, len(buffer), self._until(len(buffer)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _until(self, wanted: int) -> int:
        """How far to fetch if the next bytes are missing."""
        position = self._position
        number = bisect_right(self._spans, (position, self.size)) - 1
        if number < 0 or self._spans[number][1] <= position:
            return position + max(wanted, _LEAST)
        return min(self._spans[number][1], position + self._grown(position, wanted))

    def _grown(self, position: int, wanted: int) -> int:
        # only a fetch moves `_expected` on, so that reads within a window do not widen the next one
        if position >= self._expected:
            self._window = min(2 * self._window, _LAST_WINDOW) if position == self._expected else _FIRST_WINDOW
            self._expected = position + self._window
        return max(wanted, self._expected - position)

    def close(self) -> None:
        if not self.closed and self._owns:
            self.shared.close()
        super().close()
