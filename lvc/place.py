"""Where something is read or written: a path, a URL, or standard input or output.

Paths have locks. URLs have none; what is written there is published when it is complete.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lvc.remote.addresses import is_stored, protocol_of
from lvc.remote.filesystems import file_system, with_retries, without_retries

STREAM = "-"  # the name of standard input and output
STDIN, STDOUT = "standard input", "standard output"
Stamp = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """`name` as the user gave it: a path, a URL, or `-`."""

    name: str

    @property
    def is_url(self) -> bool:
        return protocol_of(self.name) is not None

    @property
    def is_local(self) -> bool:
        """Whether it is a path on this machine."""
        return self.name != STREAM and not self.is_url

    @property
    def is_fetched(self) -> bool:
        """Whether lvc reads it itself; paths and other URLs are opened by FFmpeg."""
        return self.name == STREAM or is_stored(self.name)

    def called(self, stream: str) -> str:
        """What messages call it; `stream` stands for `-`."""
        return stream if self.name == STREAM else self.name

    def absolute(self) -> str:
        """The absolute path; anything else unchanged."""
        return os.path.abspath(self.name) if self.is_local else self.name

    def joined(self, name: str) -> str:
        """The file `name` in this folder."""
        return f"{self.name.rstrip('/')}/{name}" if self.is_url else os.path.join(self.name, name)

    def is_folder(self) -> bool:
        return bool(self._asked(lambda fs, path: fs.isdir(path))) if self.is_url else os.path.isdir(self.name)

    def stamp(self) -> Stamp | None:
        """A value that changes whenever the file does; None if there is no file."""
        if self.is_url:
            self._asked(lambda fs, path: fs.invalidate_cache())
            exists = self._asked(lambda fs, path: fs.exists(path))
            return (self._asked(lambda fs, path: fs.ukey(path)),) if exists else None
        try:
            found = os.stat(self.name)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def size(self) -> int:
        return int(self._asked(lambda fs, path: fs.size(path))) if self.is_url else os.path.getsize(self.name)

    def remove(self) -> None:
        self._asked(lambda fs, path: fs.rm_file(path), without_retries) if self.is_url else os.unlink(self.name)

    def make_parent(self) -> None:
        """Create the folder that it is in, unless it exists."""
        if self.is_url:
            self._asked(lambda fs, path: fs.makedirs(posixpath.dirname(path), exist_ok=True), without_retries)
        else:
            os.makedirs(os.path.dirname(self.name) or ".", exist_ok=True)

    def _asked(self, action: Callable[[Any, str], Any], call: Callable[[Callable[[], Any]], Any] = with_retries) -> Any:
        """What the file system of a URL answers."""
        fs, path = file_system(self.name)
        return call(lambda: action(fs, path))
