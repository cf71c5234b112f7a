"""Chunk framing: `type[4] length[4 or 12] payload[length] crc[4]`, and the source of its bytes.

The CRC-32 (zlib's) covers type, length and payload. Nothing in a chunk is used before its CRC is verified.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from lvc.errors import CorruptError, LimitError, TruncatedError, UnsupportedError
from lvc.limits import Limits

SIGNATURE = b"\x89LVZ\r\n\x1a\n"
VERSION = 1

HEAD, VSTR, CSTR, CLIP, PKTS, META, ORIG, LTNT, MODL, INDX, TAIL, SIDE, ATTA = (
    b"HEAD",
    b"VSTR",
    b"CSTR",
    b"CLIP",
    b"PKTS",
    b"mETa",
    b"oRIG",
    b"LTNT",
    b"MODL",
    b"INDX",
    b"TAIL",
    b"sIDe",
    b"aTTa",
)
KNOWN_TYPES = frozenset((HEAD, VSTR, CSTR, CLIP, PKTS, META, ORIG, LTNT, MODL, INDX, TAIL, SIDE, ATTA))
FEAT = b"fEAT"  # not among the known ones: readers skip it unless they search
LONG_LENGTH = 0xFFFFFFFF
_CASE_BIT = 0x20
_PIECE = 1 << 20


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


@dataclass(frozen=True)
class Chunk:
    """A chunk with a valid CRC. `offset`, `end`: bytes from the start of the signature, framing included."""

    type: bytes
    offset: int
    end: int
    payload: bytes
    framed: bytes
    crc: bytes

    def feed(self, digest: Hash) -> None:
        """Add the whole chunk, framing included, to a running hash."""
        for part in (self.framed, self.payload, self.crc):
            digest.update(part)


def pack_chunk(chunk_type: bytes, payload: bytes) -> bytes:
    size = len(payload)
    if size < LONG_LENGTH:
        framed = chunk_type + size.to_bytes(4, "little")
    else:
        framed = chunk_type + LONG_LENGTH.to_bytes(4, "little") + size.to_bytes(8, "little")
    crc = zlib.crc32(payload, zlib.crc32(framed))
    return b"".join((framed, payload, crc.to_bytes(4, "little")))


def chunk_sizes(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Yield (offset, type, size with framing) of each chunk of a file; only headers are read, and nothing is
    verified."""
    end = file.seek(0, 2)
    offset = len(SIGNATURE)
    while offset < end:
        file.seek(offset)
        framed = file.read(16)
        size, more = int.from_bytes(framed[4:8], "little"), 12
        if size == LONG_LENGTH:
            size, more = int.from_bytes(framed[8:16], "little"), 20
        yield offset, framed[:4], size + more
        offset += size + more


def check_known(chunk: Chunk) -> bool:
    """Return whether a chunk is known; an unknown ancillary one is to be skipped. Raises `UnsupportedError` for an
    unknown critical chunk."""
    if chunk.type in KNOWN_TYPES:
        return True
    name = chunk.type.decode("ascii")
    if chunk.type[2] & _CASE_BIT:
        raise UnsupportedError(f"chunk {name!r} at byte {chunk.offset} uses the reserved bit — a newer lvc is needed")
    if not chunk.type[0] & _CASE_BIT:
        raise UnsupportedError(f"unknown critical chunk {name!r} at byte {chunk.offset} — a newer lvc is needed")
    return False


class Source:
    """Reads bytes and chunks from a file object, seekable or not. Offsets count from its position at the start."""

    def __init__(self, fileobj: BinaryIO, limits: Limits) -> None:
        self.file = fileobj
        self.limits = limits
        self.offset = 0
        self.size: int | None = None
        self.base = 0
        self._peeked: tuple[bytes, bytes, int] | None = None
        self.seekable = bool(fileobj.seekable())
        if self.seekable:
            self.base = fileobj.tell()
            self.size = max(0, fileobj.seek(0, 2) - self.base)
            fileobj.seek(self.base)

    def announce(self, spans: list[tuple[int, int]]) -> None:
        """Tell a remote file which spans will be read: `[start, end)`, ascending."""
        will_read = getattr(self.file, "will_read", None)
        if will_read is not None:
            will_read([(self.base + start, self.base + end) for start, end in spans])

    def seek(self, offset: int) -> None:
        self.file.seek(self.base + offset)
        self.offset = offset
        self._peeked = None

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes, fewer only at the end. Never allocates more than the file holds plus 1 MiB."""
        if self.size is not None:
            size = max(0, min(size, self.size - self.offset))
        parts: list[bytes] = []
        left = size
        while left:
            part = self.file.read(min(left, _PIECE))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.offset += len(data)
        return data

    def peek_type(self) -> bytes | None:
        """Type of the next chunk, without reading its payload; `None` at the end."""
        if self._peeked is None:
            self._peeked = self.read_header()
        return None if self._peeked is None else self._peeked[0]

    def skip_chunk(self) -> None:
        """Skip the next chunk without reading or verifying it (seekable files only). Raises `TruncatedError`."""
        start = self.offset
        head = self.read_header()
        if head is None or self.size is None or self.offset + head[2] + 4 > self.size:
            raise TruncatedError(f"file ends inside the chunk at byte {start}")
        self.seek(self.offset + head[2] + 4)

    def read_header(self) -> tuple[bytes, bytes, int] | None:
        """Read type, framing bytes and payload length; `None` at the end. Checks only letters and size limit."""
        start = self.offset
        framed = self.read(8)
        if not framed:
            return None
        if len(framed) < 8:
            raise TruncatedError(f"file ends inside a chunk header at byte {start}")
        chunk_type = framed[:4]
        if not chunk_type.isalpha():
            raise CorruptError(f"no chunk at byte {start}")
        length = int.from_bytes(framed[4:], "little")
        if length == LONG_LENGTH:
            extension = self.read(8)
            if len(extension) < 8:
                raise TruncatedError(f"file ends inside a chunk header at byte {start}")
            framed += extension
            length = int.from_bytes(extension, "little")
            if length < LONG_LENGTH:
                raise CorruptError(f"chunk at byte {start} has a long length without need")
        if length > self.limits.max_chunk:
            raise LimitError(f"chunk at byte {start} declares {length} bytes, limit {self.limits.max_chunk}")
        return chunk_type, framed, length

    def read_chunk(self) -> Chunk | None:
        """Read the next chunk and verify its CRC; `None` at the end.

        Raises `TruncatedError`, `CorruptError`, `LimitError`.
        """
        head = self._peeked or self.read_header()
        self._peeked = None
        if head is None:
            return None
        chunk_type, framed, length = head
        start = self.offset - len(framed)
        if self.size is not None and length + 4 > self.size - self.offset:
            raise TruncatedError(f"file ends inside the chunk {chunk_type.decode()!r} at byte {start}")
        payload = self.read(length)
        stored = self.read(4)
        if len(payload) < length or len(stored) < 4:
            raise TruncatedError(f"file ends inside the chunk {chunk_type.decode()!r} at byte {start}")
        if zlib.crc32(payload, zlib.crc32(framed)) != int.from_bytes(stored, "little"):
            raise CorruptError(f"chunk {chunk_type.decode()!r} at byte {start} is damaged (CRC)")
        return Chunk(chunk_type, start, self.offset, payload, framed, stored)
