"""Files at addresses that fsspec knows: `s3://…`, `gs://…`, `sftp://…`, `file://…`, `memory://…`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lvc.errors import MediaError, UsageError
from lvc.remote.addresses import protocol_of
from lvc.remote.retry import TemporaryFailure, attempts

T = TypeVar("T")

# will not go better next time
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_HERE = ("file", "local", "memory")  # gain nothing by a cache


def fsspec_core() -> Any:
    """fsspec, loaded when first used. Raises `UsageError`."""
    try:
        import fsspec.core
    except ImportError as error:
        raise UsageError("addresses like this need fsspec — pip install lvc[remote]") from error
    return fsspec.core


def file_system(address: str, options: Mapping[str, Any] | None = None, **more: Any) -> tuple[Any, str]:
    """(fsspec's file system, the path in it). Raises `UsageError` for an address that nobody here can open."""
    protocol = protocol_of(address)
    core = fsspec_core()
    try:
        fs, path = core.url_to_fs(address, **{**(options or {}), **more})
    except ImportError as error:  # fsspec says which package opens it
        raise UsageError(f"{protocol}:// is not installed ({error}) — pip install lvc[remote] has s3") from error
    except ValueError as error:
        raise UsageError(f"{protocol}:// is nothing that lvc or fsspec opens ({error}) — check the address") from error
    return fs, path


def asked(action: Callable[[], T]) -> T:
    """What a call into fsspec gives; tried again where that may help. Raises `MediaError`."""

    def once() -> T:
        try:
            return action()
        except _FINAL as error:
            raise _said(error) from error
        except OSError as error:
            raise TemporaryFailure(f"does not answer ({error.strerror or error or type(error).__name__})") from error
        except Exception as error:
            raise _said(error) from error

    return attempts(once)


def told(action: Callable[[], T]) -> T:
    """What a call into fsspec gives that must not be made twice. Raises `MediaError`."""
    try:
        return action()
    except Exception as error:
        raise _said(error) from error


def _said(error: Exception) -> MediaError:
    """File systems raise their libraries' own errors: for missing credentials, for what a server refuses."""
    if isinstance(error, FileNotFoundError):
        return MediaError("does not exist — check the address")
    reason = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
    return MediaError(f"{' '.join(str(reason).split())} — check the address and your rights")


class FsspecStore:
    """A file of an fsspec file system. `options` are that file system's."""

    def __init__(self, address: str, options: Mapping[str, Any] | None = None) -> None:
        self.address = address
        self._fs, self._path = file_system(address, options)
        info = asked(lambda: self._fs.info(self._path))
        if info.get("type") == "directory":
            raise MediaError("is a folder — name a file in it")
        size = info.get("size")
        if not isinstance(size, int):
            raise MediaError("has no known size, so that no part of it can be found — copy it to a file first")
        self.size = size
        known = [str(info[name]) for name in ("ETag", "etag", "LastModified", "mtime", "updated") if info.get(name)]
        here = not set((protocol_of(address) or "").split("::")).isdisjoint(_HERE)
        self.identity = " ".join(known) if known and not here else None

    def fetch(self, start: int, end: int) -> bytes:
        return asked(lambda: self._whole(start, end))

    def _whole(self, start: int, end: int) -> bytes:
        data = bytes(self._fs.cat_file(self._path, start=start, end=end))
        if len(data) != end - start:
            raise OSError(f"{len(data)} bytes came where {end - start} were asked for")
        return data

    def close(self) -> None:
        """Connections belong to fsspec's file system, which is shared."""
