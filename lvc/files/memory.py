"""Estimates the memory that encoding or decoding takes, checks it before any work is done, and keeps it small."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lvc.errors import LimitError

Job = Literal["encode", "decode"]

# Measured: bytes of the program itself, then bytes per luma sample, for a still and for a video
BASE = 400 << 20
STILL = {"encode": 90, "decode": 70}
VIDEO = {"encode": 500, "decode": 160}
ADAPTING = 1 << 30  # of any picture: torch, and the gradient of a few samples
_WORTH_SAYING = 2 << 30
_AHEAD, _AHEAD_BYTES = 24, 16 << 20
_M_ARENA_MAX = -8  # malloc.h of glibc
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def share_one_heap() -> None:
    """Let all threads that begin from now on allocate from one heap, where glibc would give each its own: a picture
    that one thread frees is then of use to the others, which saves 70 MiB at 1080p. For processes of lvc's own."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library, another system
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def frames_ahead(width: int, height: int) -> int:
    """Return how many pictures may wait between two threads; fewer if they are large."""
    return max(2, min(_AHEAD, _AHEAD_BYTES // (width * height * 3 // 2)))


def estimate(job: Job, width: int, height: int, frames: int | None, adapted: bool = False) -> int:
    """Return the approximate peak memory in bytes. `frames`: their number, None if unknown. `adapted`: whether the
    encoder adapts its model."""
    return BASE + width * height * (STILL if frames == 1 else VIDEO)[job] + ADAPTING * adapted


def machine_has() -> int | None:
    """Return the memory of this machine or of its container in bytes; None if unknown."""
    try:
        has = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(has, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # "max", or no cgroups
        return has


def _amount(size: int) -> str:
    """`1.2 GB`, `20 MB`: neither a small picture's need nor a small limit is 0."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def check_memory(
    job: Job,
    size: tuple[int, int],
    frames: int | None,
    limit: float | None = None,
    notice: Callable[[str], object] | None = None,
    adapted: bool = False,
) -> None:
    """Raise `LimitError` if the job would take more than `limit` bytes (None: more than the machine has). Sends a
    `notice` if it takes much."""
    needed = estimate(job, *size, frames, adapted)
    most = machine_has() if limit is None else int(limit)
    text = f"pictures of {size[0]}x{size[1]} take about {_amount(needed)} to {job}"
    if most is not None and needed > most:
        whose = "this machine has" if limit is None else "the limit is"
        advice = "scale them with --resolution" if job == "encode" else "take a machine with more"
        advice = f"{advice}, leave out --adapt" if adapted else advice
        raise LimitError(f"{text}, {whose} {_amount(most)} — {advice}, or allow more with --max-memory")
    if notice is not None and needed >= _WORTH_SAYING:
        notice(text)
