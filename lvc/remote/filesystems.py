"""Files at URLs that fsspec supports: `s3://…`, `gs://…`, `sftp://…`, `file://…`, `memory://…`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from lvc.errors import MediaError, UnsupportedError, UsageError
from lvc.remote.addresses import protocol_of
from lvc.remote.retry import TemporaryFailure, attempts

T = TypeVar("T")

# a retry would not help
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_HERE = ("file", "local", "memory")  # not worth caching


def fsspec_core() -> Any:
    """fsspec, loaded when first used. Raises `UnsupportedError`."""
    try:
        import fsspec.core
    except ImportError as error:
        raise UnsupportedError("URLs like this need fsspec — pip install 'lvc[remote]'") from error
    return fsspec.core


def file_system(address: str, options: Mapping[str, Any] | None = None, **more: Any) -> tuple[Any, str]:
    """(fsspec's file system, the path in it). Raises `UsageError` for an unsupported URL,
    `UnsupportedError` for one whose package is missing."""
    protocol = protocol_of(address)
    core = fsspec_core()
    try:
        fs, path = core.url_to_fs(address, **{**(options or {}), **more})
    except ImportError as error:  # fsspec names the package that is needed
        raise UnsupportedError(
            f"{protocol}:// needs another package ({error}) — for s3, pip install 'lvc[remote]'"
        ) from error
    except ValueError as error:
        raise UsageError(f"{protocol}:// is not supported by lvc or fsspec ({error}) — check the URL") from error
    return fs, path


def listed(root: str) -> dict[str, str | None]:
    """Every visible file below a URL (or the file itself), sorted by name, with its version, if known.

    Makes one listing call. Raises `MediaError`, `UsageError`."""
    fs, path = file_system(root)
    fs.invalidate_cache()
    if not with_retries(lambda: fs.exists(path)):
        return {}
    itself = with_retries(lambda: fs.info(path))
    if itself.get("type") != "directory":
        return {root: version(itself)}
    found: dict[str, str | None] = {}
    for name, info in sorted(with_retries(lambda: fs.find(path, detail=True)).items()):
        inside = name.removeprefix(path.rstrip("/") + "/")
        if not any(part.startswith(".") for part in inside.split("/")):
            found[f"{root.rstrip('/')}/{inside}"] = version(info)
    return found


def version(info: Mapping[str, Any]) -> str | None:
    """What identifies the version of a file, from its file system's metadata; None if nothing does. Listings and single
    requests of one file system write times differently."""
    for name in ("ETag", "etag", "LastModified", "mtime", "updated", "created"):
        if value := info.get(name):
            return f"{value.timestamp() if isinstance(value, datetime) else value} {info.get('size')}"
    return None


def with_retries(action: Callable[[], T]) -> T:
    """The result of a call into fsspec, retried where that may help. Raises `MediaError`."""

    def once() -> T:
        try:
            return action()
        except _FINAL as error:
            raise _media_error(error) from error
        except OSError as error:
            raise TemporaryFailure(f"does not answer ({error.strerror or error or type(error).__name__})") from error
        except Exception as error:
            raise _media_error(error) from error

    return attempts(once)


def without_retries(action: Callable[[], T]) -> T:
    """The result of a call into fsspec that must not be retried. Raises `MediaError`."""
    try:
        return action()
    except Exception as error:
        raise _media_error(error) from error


def _media_error(error: Exception) -> MediaError:
    """A file system library's own error, in one line: missing credentials, refused requests."""
    if isinstance(error, FileNotFoundError):
        return MediaError("does not exist — check the URL")
    reason = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
    return MediaError(f"{' '.join(str(reason).split())} — check the URL and your rights")


class FsspecStore:
    """A file of an fsspec file system. `options` are that file system's."""

    def __init__(self, address: str, options: Mapping[str, Any] | None = None) -> None:
        self.address = address
        self._fs, self._path = file_system(address, options)
        info = with_retries(lambda: self._fs.info(self._path))
        if info.get("type") == "directory":
            raise MediaError("is a folder — give a file in it")
        size = info.get("size")
        if not isinstance(size, int):
            raise MediaError("has an unknown size — copy it to a file first")
        self.size = size
        here = not set((protocol_of(address) or "").split("::")).isdisjoint(_HERE)
        self.identity = None if here else version(info)

    def fetch(self, start: int, end: int) -> bytes:
        return with_retries(lambda: self._whole(start, end))

    def _whole(self, start: int, end: int) -> bytes:
        data = bytes(self._fs.cat_file(self._path, start=start, end=end))
        if len(data) != end - start:
            raise OSError(f"{len(data)} bytes received, {end - start} requested")
        return data

    def close(self) -> None:
        """Connections belong to fsspec's file system, which is shared."""
