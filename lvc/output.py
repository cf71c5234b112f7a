"""Where results are written: never over a file by accident, never half a file, nothing left behind.

A result is written beside its target under a hidden temporary name, flushed to the disk and renamed. Whatever goes
wrong before the rename removes the temporary file. `-` is standard output, and devices and named pipes are written
directly, because there is nothing to rename. A temporary file is locked by the process that writes it, and the lock
goes with that process: what a killed one left behind can be told from what is being written (`abandoned`).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from lvc.errors import LvcError, OutputExistsError, UsageError
from lvc.pipeline import told_to_stop
from lvc.remote.addresses import is_address

STREAM = "-"
STDOUT = "standard output"  # what messages call it

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None

# Temporary files that exist right now; a second Ctrl-C removes them without waiting for anybody.
_unfinished: set[Path] = set()


def check_output(source: str, target: str, *, force: bool = False) -> None:
    """Refuse what must not be written, before any work is done and before torch is loaded.

    Raises `OutputExistsError` for an existing file without `force`, `UsageError` for a target that is the source
    (also through a link), a folder, in a folder that does not exist, or a terminal.
    """
    if is_address(target):
        from lvc.remote.upload import check_target

        with about(target):
            if source == target:
                raise UsageError("input and output are the same file — choose another output")
            check_target(target, force=force)
        return
    if target == STREAM:
        if sys.stdout is not None and sys.stdout.isatty():
            raise _about(STDOUT, UsageError("is a terminal — redirect it to a file or a pipe"))
        return
    path = Path(target)
    if path.is_dir():
        raise _about(target, UsageError("is a folder — name a file in it"))
    if not path.parent.is_dir():
        raise _about(target, UsageError("its folder does not exist — create it first"))
    if not path.exists():
        return
    if source != STREAM and os.path.exists(source) and os.path.samefile(source, target):
        raise _about(target, UsageError("input and output are the same file — choose another output"))
    if path.is_file() and not force:
        raise _about(target, OutputExistsError("exists already — choose another output or use --force"))


@contextlib.contextmanager
def publish(target: str, *, force: bool = False) -> Iterator[Path]:
    """Yield the path to write to; on a clean exit it becomes `target`, on any exception it is removed.

    The temporary name keeps the suffix of the target, because writers of media choose their container by it. A link
    is followed: what it points to is replaced, the link stays.
    """
    final = Path(os.path.realpath(target))
    if final.exists() and not final.is_file():
        yield final
        return
    temporary, handle = _made_and_locked(final, target)
    try:
        if os.name != "posix":  # an open file cannot be renamed there
            os.close(handle)
            handle = -1
        yield temporary
        _fsync(temporary)
        if final.exists() and not force:
            raise _about(target, OutputExistsError("was created meanwhile — choose another output or use --force"))
        os.replace(temporary, final)
        _fsync(final.parent)
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)
        if handle >= 0:
            os.close(handle)


def _made_and_locked(final: Path, target: str) -> tuple[Path, int]:
    """A new temporary file for `final`, open and locked. `target` is what the user calls it."""
    while True:
        temporary = final.with_name(_temporary_name(final))
        _unfinished.add(temporary)
        # made here, exclusively, with the permissions that any new file of this user gets
        try:
            handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except OSError as error:
            _unfinished.discard(temporary)
            raise OSError(error.errno, error.strerror, target) from error
        lock(handle)
        if temporary.exists():
            return temporary, handle
        os.close(handle)  # somebody cleared it up before it was locked
        _unfinished.discard(temporary)


_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.part(\.[^.]*)?", re.DOTALL)


def _temporary_name(final: Path) -> str:
    """Short enough for any file system, whatever the letters of the target cost in bytes."""
    stem = final.stem
    while len(os.fsencode(stem)) > 80:
        stem = stem[:-1]
    suffix = final.suffix if len(final.suffix) <= 8 else ""
    return f".{stem}.{os.urandom(4).hex()}.part{suffix}"


def lock(handle: int) -> bool:
    """Whether the open file now is this process's alone, until it is closed or the process ends in whatever way.

    True also where there are no locks, so that single jobs work everywhere.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that knows no locks
        return True
    return True


def abandoned(path: Path) -> bool:
    """Whether `path` is a temporary file of `publish` whose process is gone. Never where there are no locks."""
    if fcntl is None or not _TEMPORARY.fullmatch(path.name):
        return False
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return lock(handle)
    finally:
        os.close(handle)


def discard_unfinished() -> None:
    """Remove every temporary file of this process at once. For the moment before it is ended by force."""
    for path in tuple(_unfinished):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


class _Stdin(io.RawIOBase):
    """Standard input that ends when its thread is told to stop, and without the lock of Python's own buffer."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._poll = os.name == "posix"  # elsewhere only sockets can be waited for
        self._seekable = stat.S_ISREG(os.fstat(self._fd).st_mode)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return os.lseek(self._fd, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def readinto(self, buffer: Any, /) -> int:
        while self._poll and not select.select([self._fd], [], [], 0.1)[0]:
            if told_to_stop():
                return 0
        data = os.read(self._fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def opened_input(
    source: str, notice: Callable[[str], object] | None = None, *, whole: bool = False
) -> Iterator[BinaryIO]:
    """What is read: a file, an address, or standard input for `-`. `notice` is told what an address cannot do;
    `whole`: all of it will be read, so that an address is asked for much at a time."""
    if source == STREAM:
        opened = binary_stdin()
    elif is_address(source):
        from lvc.remote.open import open_remote

        opened = open_remote(source, notice, whole=whole)
    else:
        opened = open(source, "rb")  # noqa: SIM115 - closed below
    with opened:
        yield opened


def binary_stdin() -> BinaryIO:
    return cast(BinaryIO, _Stdin())


def binary_stdout() -> BinaryIO:
    return open(sys.stdout.fileno(), "wb", closefd=False)


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
    """What goes wrong in here is about the file `name`: the command line puts that in front of the message."""
    try:
        yield
    except LvcError as error:
        _about(name, error)
        raise
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, name) from error
        raise


def subject(error: BaseException) -> str | None:
    """The file that an error is about, as far as it is known."""
    name = getattr(error, "subject", None) or getattr(error, "filename", None)
    return None if name is None else os.fsdecode(name)


def _about(name: str, error: LvcError) -> LvcError:
    if subject(error) is None:
        error.__dict__["subject"] = name
    return error


def _fsync(path: Path) -> None:
    with contextlib.suppress(OSError):  # folders cannot be opened on Windows, and some file systems know no fsync
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
