"""Open remote files for reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, cast

from lvc.remote.addresses import is_http
from lvc.remote.filesystems import FsspecStore
from lvc.remote.http import HttpStore, HttpStream
from lvc.remote.store import RangeFile, Shared

Notice = Callable[[str], object]
NO_RANGES = "the server sends no parts of files: the whole file is read from start to end"


def open_shared(address: str, options: Mapping[str, Any] | None = None) -> Shared | HttpStream:
    """The file at a URL, for several readers; a stream if a web server does not support ranges.

    `options` are the file system's (fsspec); of HTTP, `headers` and `timeout` in seconds. Raises `MediaError`,
    `UsageError`.
    """
    if not is_http(address):
        return Shared(FsspecStore(address, options))
    store = HttpStore(address, **(options or {}))
    try:
        first = store.first()
    except BaseException:
        store.close()
        raise
    return Shared(store, first) if isinstance(first, bytes) else HttpStream(store, first)


def open_remote(
    address: str, notice: Notice | None = None, options: Mapping[str, Any] | None = None, *, whole: bool = False
) -> BinaryIO:
    """A file object: a `RangeFile`, or, with a notice, a stream if the server does not support ranges.

    `whole`: all of it will be read.
    """
    opened = open_shared(address, options)
    if isinstance(opened, Shared):
        file = RangeFile(opened, owns=True)
        if whole:
            file.will_read([(0, file.size)])
        return cast(BinaryIO, file)
    if notice is not None:
        notice(NO_RANGES)
    return cast(BinaryIO, opened)
