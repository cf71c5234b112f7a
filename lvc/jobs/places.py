"""File operations of a job, for paths and for URLs that fsspec supports.

Paths have locks. URLs have none; what is written there is published when it is complete.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from lvc.jobs.task import Stamp
from lvc.remote.addresses import is_address
from lvc.remote.filesystems import file_system, listed, with_retries, without_retries


def local(name: str) -> str:
    """Return the path of a `file://` URL; any other name unchanged."""
    return unquote(name.removeprefix("file://")) if name.startswith("file://") else name


def is_folder(name: str) -> bool:
    if not is_address(name):
        return os.path.isdir(name)
    fs, path = file_system(name)
    return bool(with_retries(lambda: fs.isdir(path)))


def stamp(name: str) -> Stamp | None:
    """Return a value that changes whenever the file does; None if there is no file."""
    if is_address(name):
        fs, path = file_system(name)
        fs.invalidate_cache()
        return (with_retries(lambda: fs.ukey(path)),) if with_retries(lambda: fs.exists(path)) else None
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def size(name: str) -> int:
    if not is_address(name):
        return os.path.getsize(name)
    fs, path = file_system(name)
    return int(with_retries(lambda: fs.size(path)))


def remove(name: str) -> None:
    if is_address(name):
        fs, path = file_system(name)
        without_retries(lambda: fs.rm_file(path))
    else:
        os.unlink(name)


def make_folder_of(name: str) -> None:
    if is_address(name):
        fs, path = file_system(name)
        without_retries(lambda: fs.makedirs(posixpath.dirname(path), exist_ok=True))
    else:
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)


def walk(root: str) -> Iterator[str]:
    """Yield every visible file below a URL, sorted by name."""
    yield from listed(root)
