"""What keeps a codec from helping itself to more of the machine, and of the process, than others get."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def opening_encoder() -> Iterator[None]:
    """Around what opens an encoder. SVT-AV1 prints to stderr by itself, which is kept to errors by a variable of the
    environment that it reads meanwhile; and it raises the priority of its process, which is put back."""
    before = os.environ.get("SVT_LOG")
    os.environ["SVT_LOG"] = before or "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("SVT_LOG", None)
        _ordinary_priority()


def _ordinary_priority() -> None:
    """All threads of this process back to the ordinary scheduler.

    SVT-AV1, run by root, makes itself and the thread that opens it real-time (SCHED_FIFO 99): it would run before
    everything else on the machine, and so would every process started afterwards.
    """
    if not hasattr(os, "sched_setscheduler"):
        return
    for task in Path("/proc/self/task").iterdir() if Path("/proc/self/task").is_dir() else ():
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            if os.sched_getscheduler(int(task.name)) != os.SCHED_OTHER:
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
