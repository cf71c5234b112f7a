"""Search in a database of `lvc search`, by a moment of a served video or by an uploaded picture, clip or sound."""

from __future__ import annotations

import os
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lvc.errors import MediaError
from lvc.kinds import HEAD_BYTES, kind_of
from lvc.serve.library import Item, Library

if TYPE_CHECKING:
    from lvc.search import Asked
    from lvc.search.database import Collection
    from lvc.search.nearest import Nearest

MOST_BYTES = 64 << 20
"""The most bytes of an upload."""
SECONDS = 60.0
"""The most seconds of an uploaded clip that are compared."""
_TOP = 48
_CONSIDERED = 500
_LEAST = 0.4  # the least score of pictures that have something in common
_PART = 2.0  # seconds around a moment, which identify it better than one picture
_REMEMBERED = 50


@dataclass(frozen=True)
class Found:
    """A place in a served video, times in seconds; `score` is at most 1."""

    item: Item
    start: float
    end: float
    score: float


class Finder:
    """Thread-safe; queries are serialised. Raises the errors of `lvc.search.Database` for a folder without one."""

    def __init__(self, library: Library, database: str | os.PathLike[str], threads: int | None = None) -> None:
        self._library = library
        self._folder = Path(database)
        self._threads = threads
        self._lock = threading.Lock()
        self._loaded: tuple[int, Collection, Nearest] | None = None
        self._remembered: OrderedDict[str, list[Found]] = OrderedDict()
        with self._lock:
            self._collection()

    def near(self, item: Item, seconds: float) -> list[Found]:
        """Find what looks like a moment of a served video. Raises `MediaError` and other errors of decoding."""
        from lvc.search import Asked

        with self._lock:
            start = max(0.0, seconds - _PART / 2)
            return self._found(Asked.of(item.path, start, start + _PART, "picture", self._threads))

    def like(self, file: Path) -> list[Found]:
        """Find where a picture or the first minute of a clip is shown, or where a sound is heard.

        Raises `MediaError` and other errors of decoding, and `UsageError` for a sound where no video has any.
        """
        from lvc.search import Asked

        with file.open("rb") as opened:
            picture = kind_of(opened.read(HEAD_BYTES)) == "picture"
        with self._lock:
            try:
                start, end = (None, None) if picture else (0.0, SECONDS)
                return self._found(Asked.of(file, start, end, None, self._threads))
            except OSError as error:
                raise MediaError("cannot be read as a picture or a video") from error

    def remember(self, found: list[Found]) -> str:
        """Keep results for a while; returns a key for `recalled`."""
        with self._lock:
            key = secrets.token_urlsafe(9)
            self._remembered[key] = found
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
            return key

    def recalled(self, key: str) -> list[Found] | None:
        with self._lock:
            return self._remembered.get(key)

    def _found(self, asked: Asked) -> list[Found]:
        from lvc.search import find

        collection, nearest = self._collection()
        hits = find(collection, asked, _CONSIDERED, nearest)
        least = _LEAST if asked.sounds is None else 0.0  # `find` leaves out unrelated sounds itself
        places = [(self._library.by_path(hit.path), hit) for hit in hits]
        # the database may contain files that are not served, which must not be shown
        return [Found(item, hit.start, hit.end, hit.score) for item, hit in places if item and hit.score >= least][
            :_TOP
        ]

    def _collection(self) -> tuple[Collection, Nearest]:
        """The content of the database, reloaded when it has changed."""
        from lvc.search import Database
        from lvc.search.database import FILE
        from lvc.search.nearest import Nearest

        path = self._folder / FILE
        changed = path.stat().st_mtime_ns if path.exists() else 0
        if self._loaded is None or self._loaded[0] != changed:
            with Database(self._folder) as database:
                collection = database.load()
            self._loaded = (changed, collection, Nearest(collection.vectors))
        return self._loaded[1], self._loaded[2]
