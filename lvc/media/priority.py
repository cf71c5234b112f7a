"""Keeps a codec from raising its own scheduling priority, and from printing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def opening_encoder() -> Iterator[None]:
    """A context for opening an encoder. SVT-AV1 prints to stderr, even that it is closed before the end of a video; an
    environment variable that it reads limits that to what is fatal. It also raises the priority of its process, which
    is restored."""
    before = os.environ.get("SVT_LOG")
    os.environ["SVT_LOG"] = before or "0"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("SVT_LOG", None)
        _ordinary_priority()


def _ordinary_priority() -> None:
    """Return all threads of this process to the ordinary scheduler.

    Run by root, SVT-AV1 makes itself and the thread that opens it real-time (SCHED_FIFO 99). They, and every process
    started afterwards, would run before everything else on the machine.
    """
    if not hasattr(os, "sched_setscheduler"):
        return
    for task in Path("/proc/self/task").iterdir() if Path("/proc/self/task").is_dir() else ():
        with contextlib.suppress(OSError):  # a thread that has ended
            if os.sched_getscheduler(int(task.name)) != os.SCHED_OTHER:
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
