"""Two runs on one folder: who makes which output, and who clears up after a killed one.

A claim is an empty hidden file beside the output, locked (`flock`) by the process that makes it. The lock ends with the
process, whatever ends that; the file is removed by its owner, or by whoever finds it without one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lvc.output import CLAIM, lock, sweep
from lvc.remote.addresses import is_address


@contextlib.contextmanager
def claim(target: str) -> Iterator[bool]:
    """Yields whether `target` is this process's to make, until the block is left. Stores know no locks: always."""
    if is_address(target):
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
        os.close(handle)  # its owner has just removed it: this is a file without a name
    try:
        yield True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(handle)


def sweep_all(folders: Iterable[str]) -> int:
    """Removes what killed runs left in these folders: unfinished outputs and claims; how many there were."""
    return sum(sweep(Path(folder)) for folder in {os.path.realpath(f) for f in folders if not is_address(f)})
