"""What one process knows of a `.lvz` that it takes frames from."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import threading
import warnings
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from lvc.errors import MediaError, NoFrameError, UsageError
from lvc.files.decode import format_of
from lvc.lvz import Clip, GopEntry, LvzReader, Tail, VideoDescriptor
from lvc.media.types import Frame, VideoFormat
from lvc.place import Place
from lvc.remote.addresses import without_secrets

if TYPE_CHECKING:
    from lvc.files.coding import VideoModel

Source: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"
"""A path, an address, a file's bytes, or an open binary file."""

KEPT_BYTES = 128 << 20
"""Of frames that were decoded and may be asked for again."""
_TICK_TOLERANCE = Fraction(1, 1000)  # a time that went through a float names the frame it came from


def name_of(source: Source) -> str:
    """What messages call it."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"{len(source):,} bytes"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the file object"


class Kept:
    """Frames that were decoded, by number: the last ones asked for, up to `most` bytes. For several threads."""

    def __init__(self, most: int) -> None:
        self.most, self._bytes = most, 0
        self._frames: OrderedDict[int, Frame] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, number: int, frame: Frame) -> None:
        with self._lock:
            if number in self._frames:
                return
            self._frames[number] = frame
            self._bytes += _size_of(frame)
            while self._bytes > self.most:
                self._bytes -= _size_of(self._frames.popitem(last=False)[1])

    def get(self, number: int) -> Frame | None:
        with self._lock:
            if number in self._frames:
                self._frames.move_to_end(number)
            return self._frames.get(number)

    def any_of(self, numbers: range) -> bool:
        with self._lock:
            return any(n in self._frames for n in numbers)


def _size_of(frame: Frame) -> int:
    return frame.y.nbytes + frame.u.nbytes + frame.v.nbytes


class Opened:
    """What one process knows of a file: where its bytes are, its descriptors, its index, the model."""

    def __init__(self, source: Source, options: dict[str, Any]) -> None:
        self.pid = os.getpid()
        self.model: VideoModel | None = None
        self.kept = Kept(KEPT_BYTES)
        self._source: str | bytes | BinaryIO = os.fspath(source) if isinstance(source, os.PathLike) else source
        self._shared: Any = None
        self._lock = threading.Lock()
        if isinstance(self._source, str):
            if Place(self._source).is_url:
                self._open_remote(self._source, options)
        elif not isinstance(self._source, (bytes, bytearray, memoryview)) and not self._source.seekable():
            raise UsageError("a pipe can be read only once — lvc.decode gives its frames as they come")
        with self.reader() as reader:
            self.video: VideoDescriptor = reader.video
            self.format: VideoFormat = format_of(reader)
            self.tail: Tail | None = reader.tail
            self.tags = reader.metadata.tags
            self.gops: list[GopEntry] = [] if reader.index is None else reader.index.gops
        self.origin: int | None = None if self.tail is None else self.tail.start_pts
        self._starts = [gop.start_pts for gop in self.gops]
        self._firsts = [gop.first_frame for gop in self.gops]

    def _open_remote(self, source: str, options: dict[str, Any]) -> None:
        from lvc.remote.open import NO_RANGES, open_shared
        from lvc.remote.store import Shared

        opened = open_shared(source, options)
        if isinstance(opened, Shared):
            self._shared = opened
            return
        warnings.warn(f"{without_secrets(source)}: {NO_RANGES}, into a temporary file", stacklevel=6)
        with opened, tempfile.NamedTemporaryFile(prefix="lvc-", suffix=".lvz", delete=False) as copy:
            self._source = copy.name
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
        with self._file() as file:
            yield LvzReader(file)

    def _file(self) -> BinaryIO:
        from lvc.remote.store import RangeFile

        if self._shared is not None:
            return cast(BinaryIO, RangeFile(self._shared))
        if isinstance(self._source, str):
            return open(self._source, "rb")
        if isinstance(self._source, (bytes, bytearray, memoryview)):
            return io.BytesIO(self._source)
        return cast(BinaryIO, _SharedFile(self._source, self._lock))

    def start(self) -> int:
        """pts of the first frame; without an index it is looked for."""
        if self.origin is None:
            with self.reader() as reader:
                self.origin = next(c.pts[0] for c in reader.records_from(packets=False) if isinstance(c, Clip))
        return self.origin

    def at_times(self, times: Iterable[float]) -> list[list[tuple[int, int]]]:
        """(pts at which something is shown, place among `times`), ascending, one list for each GOP; in a file without
        an index, one for each time. Raises `NoFrameError` for what lies behind the end."""
        tick, origin = self.video.seconds_per_tick, self.start()
        found: dict[int, list[tuple[int, int]]] = {}
        for place, time in enumerate(times):
            pts = origin + int(Fraction(time) / tick + _TICK_TOLERANCE)
            if self.tail is not None and pts >= self.tail.end_pts:
                end = float((self.tail.end_pts - origin) * tick)
                raise NoFrameError(f"nothing is shown at {time:g} s — the video has {end:g} s")
            group = bisect_right(self._starts, pts) if self._starts else place
            found.setdefault(group, []).append((pts, place))
        return [sorted(found[group]) for group in sorted(found)]

    def numbered(self, numbers: Iterable[int]) -> list[list[tuple[int, int]]]:
        """(number of a frame, place among `numbers`), in the same way."""
        found: dict[int, list[tuple[int, int]]] = {}
        for place, number in enumerate(numbers):
            group = bisect_right(self._firsts, number) if self._firsts else place
            found.setdefault(group, []).append((number, place))
        return [sorted(found[group]) for group in sorted(found)]

    def start_of_group(self, number: int) -> int:
        """pts of a key frame at or before a frame, by its number: of the last one, where there is an index."""
        place = bisect_right(self._firsts, number) - 1
        return self._starts[place] if place >= 0 else self.start()

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()


class _SharedFile(io.RawIOBase):
    """A seekable file object of somebody else, with a position of one's own. Closing leaves it open."""

    def __init__(self, file: BinaryIO, lock: threading.Lock) -> None:
        self._file, self._lock = file, lock
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence == 2:
            with self._lock:
                self._position = self._file.seek(offset, 2)
        else:
            self._position = offset + (self._position if whence == 1 else 0)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        with self._lock:
            self._file.seek(self._position)
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _remove(path: str, pid: int) -> None:
    if os.getpid() == pid:
        with contextlib.suppress(OSError):
            os.unlink(path)
