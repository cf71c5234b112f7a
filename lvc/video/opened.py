"""What one process knows of a `.lvz` that it takes frames from."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
import weakref
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from lvc.errors import MediaError, UsageError
from lvc.lvz import Clip, Index, LvzReader, Tail, VideoDescriptor
from lvc.remote.addresses import is_address, without_secrets

if TYPE_CHECKING:
    from lvc.models import Model

_TICK_TOLERANCE = Fraction(1, 1000)  # a time that went through a float names the frame it came from


class Opened:
    """What one process knows of a file: where its bytes are, its descriptors, its index, the model."""

    def __init__(self, source: str, options: dict[str, Any]) -> None:
        self.pid = os.getpid()
        self.model: Model | None = None
        self._path: str | None = source
        self._shared: Any = None
        if is_address(source):
            self._open_remote(source, options)
        with self.reader() as reader:
            self.video: VideoDescriptor = reader.video
            self.index: Index | None = reader.index
            self.tail: Tail | None = reader.tail
            self.tags = reader.metadata.tags
        self.origin: int | None = None if self.tail is None else self.tail.start_pts
        self._gops = [] if self.index is None else self.index.gops
        self._starts = [gop.start_pts for gop in self._gops]

    def _open_remote(self, source: str, options: dict[str, Any]) -> None:
        from lvc.remote.open import NO_RANGES, open_shared
        from lvc.remote.store import Shared

        opened = open_shared(source, options)
        if isinstance(opened, Shared):
            self._path, self._shared = None, opened
            return
        warnings.warn(f"{without_secrets(source)}: {NO_RANGES}, into a temporary file", stacklevel=6)
        with opened, tempfile.NamedTemporaryFile(prefix="lvc-", suffix=".lvz", delete=False) as copy:
            self._path = copy.name
            weakref.finalize(self, _remove, copy.name, self.pid)
            left = shutil.disk_usage(copy.name).free // 2  # a server may send without end
            while piece := opened.read(1 << 20):
                left -= len(piece)
                if left < 0:
                    raise MediaError("the server sends more than half of what the disk has room for")
                copy.write(piece)

    @contextlib.contextmanager
    def reader(self) -> Iterator[LvzReader]:
        """A reader with a position of its own."""
        from lvc.remote.store import RangeFile

        file: Any = open(self._path, "rb") if self._path is not None else RangeFile(self._shared)
        with file:
            yield LvzReader(cast(BinaryIO, file))

    def groups(self, times: list[float]) -> list[list[tuple[int, int]]]:
        """(pts at which something is shown, number of the time), ascending, one list for each GOP; in a file without
        an index, one for each time. Raises `UsageError` for what lies behind the end."""
        if self.origin is None:
            with self.reader() as reader:
                self.origin = next(c.pts[0] for c in reader.records_from(packets=False) if isinstance(c, Clip))
        tick = self.video.seconds_per_tick
        found: dict[int, list[tuple[int, int]]] = {}
        for number, time in enumerate(times):
            pts = self.origin + int(Fraction(time) / tick + _TICK_TOLERANCE)
            if self.tail is not None and pts >= self.tail.end_pts:
                end = float((self.tail.end_pts - self.origin) * tick)
                raise UsageError(f"nothing is shown at {time:g} s — the video has {end:g} s")
            group = bisect_right(self._starts, pts) if self._starts else number
            found.setdefault(group, []).append((pts, number))
        return [sorted(found[group]) for group in sorted(found)]

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()


def _remove(path: str, pid: int) -> None:
    if os.getpid() == pid:
        with contextlib.suppress(OSError):
            os.unlink(path)
