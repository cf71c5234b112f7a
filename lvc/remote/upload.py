"""Streamed writing to a URL: the object appears when it is complete, or not at all."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

from lvc.errors import OutputExistsError, UsageError
from lvc.kinds import HEAD_BYTES, refuse_foreign
from lvc.remote.addresses import is_http
from lvc.remote.filesystems import file_system, with_retries, without_retries


def check_target(address: str, *, force: bool = False, writes: Sequence[str] | None = None) -> None:
    """Refuse targets that must not be written; `writes`: the kinds of file that `force` may overwrite.

    Raises `OutputExistsError`, `UsageError`, `MediaError`.
    """
    if is_http(address):
        raise UsageError("lvc cannot write to a web server — use a file, or a URL such as s3://bucket/name")
    fs, path = file_system(address)
    if with_retries(lambda: fs.isdir(path)) and not with_retries(lambda: fs.isfile(path)):
        raise UsageError("is a folder — give a file in it")
    if (not force or writes is not None) and with_retries(lambda: fs.exists(path)):
        if not force:
            raise OutputExistsError("exists already — choose another output or use --force")
        refuse_foreign(with_retries(lambda: fs.cat_file(path, 0, HEAD_BYTES)), writes)


@contextlib.contextmanager
def upload(address: str, *, force: bool = False) -> Iterator[BinaryIO]:
    """A stream to write to. A clean exit publishes it at `address`; an exception discards what was sent."""
    # an instance of its own: a transaction is a state of the file system, and instances are shared
    fs, path = file_system(address, skip_instance_cache=True)
    transaction = fs.transaction
    transaction.start()
    file: Any = None
    try:
        file = without_retries(lambda: fs.open(path, "wb"))
        yield cast(BinaryIO, _Forward(file))
        without_retries(file.close)
        if not force:
            check_target(address)
    except BaseException:
        with contextlib.suppress(Exception):
            transaction.complete(commit=False)
        with contextlib.suppress(AttributeError):
            file.closed = True  # or fsspec sends the rest when the object is deleted
        raise
    without_retries(lambda: transaction.complete(commit=True))


class _Forward(io.RawIOBase):
    """A stream that cannot seek, whatever the file below it can; `upload` closes it."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: Any, /) -> int:
        without_retries(lambda: self._file.write(data))
        return memoryview(data).nbytes
