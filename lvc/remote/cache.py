"""A cache of fetched parts on disk: `LVC_CACHE`, by default `~/.cache/lvc`; `off` disables it.

Every file has a folder, named by a hash of its URL, its size and its version (an ETag or a date), so that a changed
file is a different one. It holds a file `START-LENGTH` for each piece: the bytes and their CRC-32. Pieces are renamed
into place, so several processes can use the cache at once. Above 1 GiB, the least recently used files are deleted.
Errors of the cache are ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import zlib
from pathlib import Path

MAX_BYTES = 1 << 30
_MAX_A_FILE = 256 << 20  # from one read: a film read from end to end is not cached whole
_LOOK_EVERY = 64 << 20  # bytes written between two checks of the total


def cache_folder() -> Path | None:
    named = os.environ.get("LVC_CACHE")
    if named == "off":
        return None
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "lvc" if os.path.isabs(base) else None


class DiskCache:
    """The cached pieces of one file. Errors are ignored: then nothing is found, or stored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lengths: dict[int, int] = {}  # start -> length
        self._written = 0
        self._to_look = 0
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                start, _, length = name.partition("-")
                if start.isdigit() and length.isdigit():
                    self._lengths[int(start)] = max(int(length), self._lengths.get(int(start), 0))
            os.utime(folder)

    @classmethod
    def of(cls, address: str, identity: str | None, size: int) -> DiskCache | None:
        """None if versions of the file cannot be told apart, or the cache is off."""
        base = cache_folder()
        if identity is None or base is None:
            return None
        return cls(base / hashlib.sha256(f"{address}\n{identity}\n{size}".encode()).hexdigest())

    def read(self, start: int, end: int) -> bytes:
        """Bytes from `start` on, at most up to `end`; empty if they are missing or damaged."""
        first = max((s for s in self._lengths if s <= start), default=None)
        if first is None or first + self._lengths[first] <= start:
            return b""
        length = self._lengths[first]
        try:
            stored = (self._folder / f"{first}-{length}").read_bytes()
        except OSError:
            stored = b""
        data, crc = stored[:-4], stored[-4:]
        if len(data) != length or zlib.crc32(data) != int.from_bytes(crc, "little"):
            del self._lengths[first]
            return b""
        return data[start - first : end - first]

    def next_start(self, start: int, end: int) -> int:
        """Start of the next piece after `start`, or `end` if there is none before it."""
        return min((s for s in self._lengths if start < s < end), default=end)

    def write(self, start: int, data: bytes) -> None:
        if not data or self._written + len(data) > _MAX_A_FILE:
            return
        temporary = self._folder / f".{os.urandom(8).hex()}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_bytes(data + zlib.crc32(data).to_bytes(4, "little"))
            os.replace(temporary, self._folder / f"{start}-{len(data)}")
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            return
        self._lengths[start] = len(data)
        self._written += len(data)
        if self._written >= self._to_look:
            self._to_look = self._written + _LOOK_EVERY
            shrink(self._folder.parent)


def shrink(base: Path, most: int = MAX_BYTES) -> None:
    """Remove the least recently used folders until the rest have at most `most` bytes."""
    found = []
    with contextlib.suppress(OSError):
        for folder in os.scandir(base):
            if len(folder.name) == 64 and folder.is_dir(follow_symlinks=False):
                sizes = [piece.stat().st_size for piece in os.scandir(folder)]
                found.append((folder.stat().st_mtime, sum(sizes), folder.path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most:
            return
        shutil.rmtree(path, ignore_errors=True)
        total -= size
