"""A file that is still being written, read as a stream that ends when its writer is done."""

from __future__ import annotations

import io
import os
import time
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows has no locks; only growth is observed
    fcntl = None

_STEP = 0.1  # seconds between checks
_TAIL_CHUNK = 84  # bytes


class FollowedFile(io.RawIOBase):
    """Reads `path`, and at its end waits for more while a writer holds its lock (`lvc.output.lock`).

    Without a lock, the stream ends at a complete `TAIL`, or when nothing was added for `patience` seconds.
    """

    def __init__(self, path: str | os.PathLike[str], patience: float = 3.0) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - lives as long as this
        self._patience = patience
        self._end = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        quiet_since = time.monotonic()
        while True:
            locked = self._is_written()
            size = self._file.readinto(buffer) or 0  # after checking the lock, so that nothing is missed
            if size:
                self._end = (self._end + bytes(buffer[max(0, size - _TAIL_CHUNK) : size]))[-_TAIL_CHUNK:]
                return size
            whole = self._end[:8] == b"TAIL\x48\0\0\0"
            if not locked and (whole or time.monotonic() - quiet_since > self._patience):
                return 0
            time.sleep(_STEP)

    def _is_written(self) -> bool:
        if fcntl is None:
            return False
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
        fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        self._file.close()
        super().close()
