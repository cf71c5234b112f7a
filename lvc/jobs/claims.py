"""Claims on outputs, so that two runs can share a folder, and cleaning up after killed runs.

A claim is an empty hidden file beside the output, locked (`flock`) by the process that makes the output. The lock ends
with the process, however it ends; the file is removed by its owner, or by the next run that finds it unlocked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lvc.output import CLAIM, lock, sweep
from lvc.place import Place


@contextlib.contextmanager
def claim(target: str) -> Iterator[bool]:
    """Claim `target` for this process within the block. Yields whether that succeeded: always for URLs, which have no
    locks."""
    if Place(target).is_url:
        yield True
        return
    folder, name = os.path.split(os.path.realpath(target))
    path = os.path.join(folder, f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}{CLAIM}")
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        if not lock(handle):
            os.close(handle)
            yield False
            return
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(handle).st_ino:
                break
        os.close(handle)  # the owner has just removed the file
    try:
        yield True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(handle)


def sweep_all(folders: Iterable[str]) -> int:
    """Remove what killed runs left in these folders: unfinished outputs and claims. Returns how many."""
    return sum(sweep(Path(folder)) for folder in {os.path.realpath(f) for f in folders if not Place(f).is_url})
