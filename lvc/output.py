"""Where results are written: never over a file by accident, never half a file, nothing left behind.

A result is written beside its target under a hidden temporary name, flushed to the disk and renamed. Whatever goes
wrong before the rename removes the temporary file. `-` is standard output, and devices and named pipes are written
directly, because there is nothing to rename. A temporary file is locked by the process that writes it, and the lock
goes with that process: so the next run into the folder knows what a killed one left behind, and removes it (`sweep`).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from lvc.errors import LvcError, OutputExistsError, UsageError
from lvc.kinds import HEAD_BYTES, called, endings, kind_by_name, refuse_foreign
from lvc.pipeline import told_to_stop
from lvc.place import STDOUT, STREAM, Place

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None

# Temporary files that exist right now; a second Ctrl-C removes them without waiting for anybody.
_unfinished: set[Path] = set()


def check_output(
    source: str | Sequence[str], target: str, *, force: bool = False, writes: Sequence[str] | None = None
) -> None:
    """Refuse what must not be written, before any work is done and before torch is loaded.

    `source`: the input, or all of them. `writes`: the kinds (`lvc.kinds`) that a target may already be; anything else
    is never overwritten, whatever `force` says.

    Raises `OutputExistsError` for an existing file without `force`, or of another kind; `UsageError` for a target that
    is a source (also through a link), a folder, in a folder that does not exist, or a terminal.
    """
    sources = [source] if isinstance(source, str) else source
    by_name = kind_by_name(target)
    if writes is not None and by_name is not None and by_name not in writes:
        wanted = ", ".join(endings(writes))
        raise _about(
            target, UsageError(f"has the name of {called(by_name)} — an output of this command ends in {wanted}")
        )
    if Place(target).is_url:
        from lvc.remote.upload import check_target

        with about(target):
            if target in sources:
                raise UsageError("input and output are the same file — choose another output")
            check_target(target, force=force, writes=writes)
        return
    if target == STREAM:
        if sys.stdout is not None and sys.stdout.isatty():
            raise _about(STDOUT, UsageError("is a terminal — redirect it to a file or a pipe"))
        return
    path = Path(target)
    if path.is_dir():
        raise _about(target, UsageError("is a folder — give a file in it"))
    if not path.parent.is_dir():
        raise _about(target, UsageError("its folder does not exist — create it first"))
    if not path.exists():
        return
    for name in sources:
        if name != STREAM and os.path.exists(name) and os.path.samefile(name, target):
            raise _about(target, UsageError("input and output are the same file — choose another output"))
    if not path.is_file():
        return
    if not force:
        raise _about(target, OutputExistsError("exists already — choose another output or use --force"))
    with about(target), path.open("rb") as file:
        refuse_foreign(file.read(HEAD_BYTES), writes)


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
        _put_into_place(temporary, final, target, force)
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)
        if handle >= 0:
            os.close(handle)


def publish_file(file: Path, target: str, *, force: bool = False) -> None:
    """Make a finished file of a `workspace` the target."""
    final = Path(os.path.realpath(target))
    if final.exists() and not final.is_file():
        with file.open("rb") as source, final.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        return
    _put_into_place(file, final, target, force)


def _put_into_place(file: Path, final: Path, target: str, force: bool) -> None:
    _fsync(file)
    if final.exists() and not force:
        raise _about(target, OutputExistsError("was created by another program — choose another output or use --force"))
    os.replace(file, final)
    _fsync(final.parent)


def _made_and_locked(final: Path, target: str) -> tuple[Path, int]:
    """A new temporary file for `final`, open and locked. `target` is what the user calls it."""
    sweep_once(final.parent)
    while True:
        temporary = final.with_name(_temporary_name(final))
        _unfinished.add(temporary)
        # made here, exclusively, with the permissions that any new file of this user gets
        try:
            handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except OSError as error:
            _unfinished.discard(temporary)
            raise OSError(error.errno, error.strerror, target) from error
        if lock(handle) and temporary.exists():
            return temporary, handle
        os.close(handle)  # somebody clears it up who found it before it was locked
        _unfinished.discard(temporary)


@contextlib.contextmanager
def workspace(target: str) -> Iterator[Path]:
    """A hidden folder beside `target` for trials, on the same disk; it goes when the block is left.

    Like the temporary file of `publish` it is locked: what a killed process left is told from what is in use.
    """
    parent = Path(target).absolute().parent
    sweep_once(parent)
    while True:
        folder = parent / f".{os.urandom(4).hex()}{_WORKSPACE}"
        _unfinished.add(folder)  # first, for an interrupt may come at once
        with about(target):
            folder.mkdir()
        handle = os.open(folder, os.O_RDONLY) if os.name == "posix" else -1  # elsewhere folders cannot be opened
        if handle < 0 or (lock(handle) and folder.exists()):
            break
        os.close(handle)
        _unfinished.discard(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unfinished.discard(folder)
        if handle >= 0:
            os.close(handle)


_WORKSPACE = ".lvc-work"
CLAIM = ".lvc-claim"
_OURS = re.compile(
    rf"\..*\.[0-9a-f]{{8}}\.part(\.[^.]*)?|\.[0-9a-f]{{8}}{_WORKSPACE}|\.[0-9a-f]{{16}}{CLAIM}", re.DOTALL
)


def _temporary_name(final: Path) -> str:
    """Short enough for any file system, whatever the letters of the target cost in bytes."""
    stem = final.stem
    while len(os.fsencode(stem)) > 80:
        stem = stem[:-1]
    suffix = final.suffix if len(final.suffix) <= 8 else ""
    return f".{stem}.{os.urandom(4).hex()}.part{suffix}"


def lock(handle: int, *, unsure: bool = True) -> bool:
    """Whether the open file now is this process's alone, until it is closed or the process ends in whatever way.

    `unsure`: the answer where there are no locks; True lets single jobs work everywhere.
    """
    if fcntl is None:
        return unsure
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that knows no locks
        return unsure
    return True


def sweep(folder: Path) -> int:
    """Remove what killed runs left in `folder`: unfinished outputs, workspaces, claims; how many there were.

    Only what nobody holds a lock on; nothing where there are no locks.
    """
    with contextlib.suppress(OSError):
        with os.scandir(folder) as entries:
            found = [entry.path for entry in entries if entry.name.startswith(".") and _OURS.fullmatch(entry.name)]
        return sum(_removed_if_abandoned(path) for path in found)
    return 0


_swept: set[Path] = set()


def sweep_once(folder: Path) -> None:
    """`sweep`, the first time that this process writes into `folder`."""
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)


def _removed_if_abandoned(path: str) -> bool:
    """The lock is held until the file is gone: whoever opened it meanwhile sees that it has no name any more."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        if not lock(handle, unsure=False):
            return False
        found, named = os.fstat(handle), os.lstat(path)
        if (found.st_dev, found.st_ino) != (named.st_dev, named.st_ino):
            return False
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def discard_unfinished() -> None:
    """Remove every temporary file of this process at once. For the moment before it is ended by force."""
    for path in tuple(_unfinished):
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
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
    elif Place(source).is_url:
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
