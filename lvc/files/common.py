"""Helpers of both directions: opening inputs and outputs, and naming the file that an error is about."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from lvc.lvz import CopiedStream, LvzReader
from lvc.lvz.follow import FollowedFile
from lvc.media import CopiedPacket
from lvc.output import about, binary_stdout, opened_input, publish
from lvc.place import STDOUT, STREAM, Place

Progress = Callable[[int, int, int, int | None], object]
"""Called with frames done, bytes in, bytes out and the expected number of frames (None: unknown)."""
Notice = Callable[[str], object]
PathLike = str | os.PathLike[str]
T = TypeVar("T")

RECORDS_AHEAD = 4


@contextlib.contextmanager
def destination(target: str, force: bool) -> Iterator[Path | BinaryIO]:
    """Yield where to write so that `target` appears atomically: a path, or a stream for standard output and URLs."""
    if target == STREAM:
        with about(STDOUT), binary_stdout() as stream:
            yield stream
    elif Place(target).is_url:
        from lvc.remote.upload import upload

        with about(target), upload(target, force=force) as stream:
            yield stream
    else:
        with publish(target, force=force) as path:
            yield path


def labelled(items: Iterator[T], name: str) -> Generator[T]:
    """Yield `items` such that their errors name the file `name`, not the output."""
    with about(name):
        yield from items


def blamed(items: Iterator[T], name: str) -> contextlib.closing[Generator[T]]:
    """`labelled`, closed at the end of the block, on whose thread they must be taken."""
    return contextlib.closing(labelled(items, name))


def size_of(path: str) -> int | None:
    """Return the size of a local file in bytes; None for anything else."""
    return os.path.getsize(path) if os.path.isfile(path) else None


@contextlib.contextmanager
def opened(
    source: str, salvage: bool = False, notice: Notice | None = None, *, follow: bool = False
) -> Iterator[LvzReader]:
    """Open a `.lvz`. `follow`: wait at the end of a file that is still being written."""
    with cast(BinaryIO, FollowedFile(source)) if follow else opened_input(source, notice) as file:
        yield LvzReader(file, salvage=salvage)


def drained(arrived: deque[CopiedPacket]) -> Iterator[CopiedPacket]:
    while arrived:
        yield arrived.popleft()


def moment_of(packet: CopiedPacket, stream: CopiedStream) -> Fraction | None:
    """Return when a packet plays, in seconds."""
    ticks = packet.dts if packet.pts is None else packet.pts
    return None if ticks is None else ticks * stream.seconds_per_tick
