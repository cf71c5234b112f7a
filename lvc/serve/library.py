"""The files that are served: found by walking the given folders, and looked up by name. No name from a request is ever
turned into a path."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from lvc.errors import CorruptError, LvcError, MediaError
from lvc.lvz import LvzReader
from lvc.output import about

MOST_FILES = 100_000
"""The most files of a listing. A page that says so is better than one that never loads."""
_SUFFIX = ".lvz"
_REST = 2.0  # seconds between walks through the folders, or ten times as long as one takes
_FACTS = 20_000  # files whose details are cached


@dataclass(frozen=True)
class Item:
    """A file that was found. `name`: the path below the served folders, with `/`, as in addresses."""

    name: str
    path: str
    size: int
    changed: int

    @property
    def title(self) -> str:
        return self.name.rpartition("/")[2].removesuffix(_SUFFIX)

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]

    @property
    def version(self) -> str:
        """A tag that changes with the file."""
        return f"{self.changed:x}-{self.size:x}"


@dataclass(frozen=True)
class Details:
    """What is in a file, or why it cannot be read. Times in seconds from the first frame. `width` and `height` of the
    displayed picture: upright, with square samples."""

    error: str | None = None
    width: int = 0
    height: int = 0
    seconds: float | None = None
    fps: float | None = None
    frames: int | None = None
    gops: tuple[float, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    sounds: tuple[str, ...] = ()
    subtitles: int = 0
    chapters: tuple[tuple[float, str], ...] = ()
    model: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder and the number of videos in it and below."""

    name: str
    videos: int

    @property
    def title(self) -> str:
        return self.name.rpartition("/")[2]


class Library:
    """`.lvz` files, and those in folders. Thread-safe. Raises `MediaError` for a path that does not exist."""

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self._roots: list[tuple[str, str]] = []  # (name in addresses, real path)
        taken: set[str] = set()
        for path in paths:
            real = os.path.realpath(path)
            with about(os.fspath(path)):
                if not os.path.isdir(real) and not os.path.isfile(real):
                    raise MediaError("no such file or folder — check the name")
                if os.path.isfile(real):
                    _check_is_lvz(real)
                elif not os.access(real, os.R_OK | os.X_OK):
                    raise MediaError("this folder cannot be read — check its permissions")
            if any(real == other for _, other in self._roots):
                continue
            base = os.path.basename(real) or "files"
            name, number = base, 2
            while name in taken:
                stem, ending = os.path.splitext(base) if os.path.isfile(real) else (base, "")
                name, number = f"{stem} ({number}){ending}", number + 1
            taken.add(name)
            self._roots.append((name, real))
        if len(self._roots) == 1 and os.path.isdir(self._roots[0][1]):
            self._roots = [("", self._roots[0][1])]  # its name would be part of every address
        self._lock = threading.Lock()
        self._items: dict[str, Item] = {}
        self._by_path: dict[str, str] = {}
        self._next = 0.0
        self._details: OrderedDict[tuple[str, str], Details] = OrderedDict()
        self.complete = True

    @property
    def title(self) -> str:
        """The title of the gallery: the name of the folder if there is only one, or empty."""
        return os.path.basename(self._roots[0][1]) if len(self._roots) == 1 else ""

    # ---------------------------------------------------------------- finding

    def items(self) -> dict[str, Item]:
        """All files, sorted by name. The folders are walked again after a while."""
        with self._lock:
            started = time.monotonic()
            if started >= self._next:
                found: dict[str, Item] = {}
                self.complete = True
                for name, root in self._roots:
                    for item in self._walk(name, root):
                        if len(found) >= MOST_FILES:
                            self.complete = False
                            break
                        found[item.name] = item
                self._items = found
                self._by_path = {item.path: item.name for item in found.values()}
                now = time.monotonic()
                self._next = now + max(_REST, 10 * (now - started))
            return self._items

    def find(self, name: str) -> Item | None:
        item = self._items.get(name)
        return item if item is not None else self.items().get(name)

    def by_path(self, path: str) -> Item | None:
        """The served file at a local path, if there is one."""
        items = self.items()
        name = self._by_path.get(os.path.realpath(path))
        return None if name is None else items.get(name)

    def inside(self, folder: str) -> tuple[list[Folder], list[Item]] | None:
        """The folders and files directly in a folder; `None` if there is no such folder."""
        before = f"{folder}/" if folder else ""
        counts: dict[str, int] = {}
        files = []
        for name, item in self.items().items():
            if not name.startswith(before):
                continue
            head, slash, _ = name[len(before) :].partition("/")
            if slash:
                counts[before + head] = counts.get(before + head, 0) + 1
            else:
                files.append(item)
        if folder and not counts and not files:
            return None
        return [Folder(name, count) for name, count in sorted(counts.items())], files

    def _walk(self, name: str, root: str) -> Iterator[Item]:
        if not os.path.isdir(root):
            item = self._item(name, root)
            if item is not None:
                yield item
            return
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            below = os.path.relpath(folder, root)
            parts = [part for part in (name, "" if below == "." else below.replace(os.sep, "/")) if part]
            for file in sorted(files, key=str.casefold):
                if file.startswith(".") or not file.lower().endswith(_SUFFIX):
                    continue
                item = self._item("/".join([*parts, file]), os.path.join(folder, file))
                if item is not None:
                    yield item

    def _item(self, name: str, path: str) -> Item | None:
        """The file; `None` for anything but a regular file, and for a link out of the folders."""
        try:
            real = os.path.realpath(path, strict=True)
            status = os.stat(real)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode) or not self._is_inside(real):
            return None
        return Item(name, real, status.st_size, status.st_mtime_ns)

    def _is_inside(self, real: str) -> bool:
        return any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for _, root in self._roots)

    # ---------------------------------------------------------------- reading

    def open(self, item: Item) -> tuple[BinaryIO, os.stat_result]:
        """Open the file, unless it has been replaced since: by a link, another kind of file, or a path out of the
        folders.

        Raises `OSError` and `MediaError`.
        """
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
        handle = os.open(item.path, flags | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(handle)
            real = os.path.realpath(item.path)
            there = os.stat(real)
            same = (status.st_dev, status.st_ino) == (there.st_dev, there.st_ino)
            if not stat.S_ISREG(status.st_mode) or not same or not self._is_inside(real):
                raise MediaError("the file has been replaced — load the page again")
            return os.fdopen(handle, "rb", buffering=0), status
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            raise

    def details(self, item: Item) -> Details:
        """Details from header, index and end of the file, cached until it changes."""
        key = (item.name, item.version)
        with self._lock:
            known = self._details.get(key)
        if known is None:
            known = self._read(item)
            with self._lock:
                self._details[key] = known
                while len(self._details) > _FACTS:
                    self._details.popitem(last=False)
        return known

    def _read(self, item: Item) -> Details:
        try:
            file, _ = self.open(item)
            with file:
                return _details_of(LvzReader(file))
        except LvcError as error:
            return Details(error=str(error).partition(" — ")[0])
        except OSError as error:
            return Details(error=error.strerror or "cannot be read")


def _check_is_lvz(path: str) -> None:
    with open(path, "rb") as file:
        if file.read(4) != b"\x89LVZ":
            raise CorruptError("is not a .lvz file — make one with lvc encode")


def _details_of(reader: LvzReader) -> Details:
    video, tail, index = reader.video, reader.tail, reader.index
    tick = video.seconds_per_tick
    wide = video.width * max(1, video.sar[0]) / max(1, video.sar[1])
    width, height = round(wide), video.height
    if video.rotation % 180:
        width, height = height, width
    if reader.header.model_id == "latents":
        return Details(error="holds packed latents and no video")
    begin = tail.start_pts if tail else 0
    rate = video.frame_rate
    return Details(
        width=width,
        height=height,
        seconds=None if tail is None else float((tail.end_pts - tail.start_pts) * tick),
        fps=rate[0] / rate[1] if rate[1] else None,
        frames=None if tail is None else tail.frame_count,
        gops=() if index is None else tuple(float((gop.start_pts - begin) * tick) for gop in index.gops),
        tags=dict(reader.metadata.tags),
        sounds=tuple(", ".join(filter(None, [s.codec, s.language])) for s in reader.copied if s.kind == "audio"),
        subtitles=sum(s.kind == "subtitle" for s in reader.copied),
        chapters=tuple(
            (float(c.start * c.time_base[0] / c.time_base[1]), c.tags.get("title", ""))
            for c in reader.metadata.chapters
        ),
        model=reader.header.model_sha256.hex(),
    )
