"""Key frames as small JPEGs, made on request, two at a time, and cached in memory up to a limit."""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict
from itertools import islice

from lvc.errors import MediaError
from lvc.serve.library import Details, Item, Library

WIDTH, HEIGHT = 480, 480
"""The largest size; pictures keep their proportions."""
CACHE_BYTES = 64 << 20
_PART = 0.1  # of the duration: the first picture of a film is often black


class Thumbnails:
    """Thread-safe."""

    def __init__(self, library: Library, threads: int | None = None, cache_bytes: int = CACHE_BYTES) -> None:
        self._library = library
        self._threads = threads
        self._most = cache_bytes
        self._kept: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._turn = threading.Semaphore(2)

    def picture(self, item: Item, details: Details, seconds: float | None) -> bytes:
        """JPEG of the last key frame up to a time; `None`: of one that represents the video.

        Raises every kind of `LvcError`, and `OSError`.
        """
        gop = gop_at(details, seconds)
        key = (item.name, item.version, gop)
        kept = self._get(key)
        if kept is None:
            with self._turn:
                kept = self._get(key)  # another thread may have made it
                if kept is None:
                    kept = _drawn(self._library, item, details, gop, self._threads)
                    self._put(key, kept)
        return kept

    def _get(self, key: tuple[str, str, int]) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _put(self, key: tuple[str, str, int], picture: bytes) -> None:
        with self._lock:
            self._kept[key] = picture
            self._bytes += len(picture)
            while self._bytes > self._most:
                self._bytes -= len(self._kept.popitem(last=False)[1])


def gop_at(details: Details, seconds: float | None) -> int:
    """The number of the GOP that contains a time."""
    if not details.gops:
        return 0
    if seconds is None:
        seconds = _PART * (details.seconds or 0.0)
    return max(0, bisect_right(details.gops, seconds + 1e-4) - 1)


def _drawn(library: Library, item: Item, details: Details, gop: int, threads: int | None) -> bytes:
    """Decode and draw the key frame of a GOP, and nothing else of it."""
    from PIL import Image

    from lvc.files.coding import model_of
    from lvc.files.decode import check_size, format_of
    from lvc.lvz import LvzReader, clips_only
    from lvc.media.pictures import PictureMaker

    if details.error is not None:
        raise MediaError(details.error)
    file, _ = library.open(item)
    with file:
        reader = LvzReader(file)
        check_size(reader)
        clips = reader.gop(gop) if details.gops else clips_only(reader.records_from(packets=False))
        model = model_of(reader, None, None)
        frames = model.decode(islice(clips, 1), reader.video, threads)
        frame = next(iter(frames), None)
        if frame is None:
            raise MediaError("has no picture yet")
        picture = Image.fromarray(PictureMaker(format_of(reader)).rgb(frame))
    scale = min(1.0, WIDTH / details.width, HEIGHT / details.height)
    size = max(1, round(details.width * scale)), max(1, round(details.height * scale))
    out = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0).save(out, "JPEG", quality=80, optimize=True)
    return out.getvalue()
