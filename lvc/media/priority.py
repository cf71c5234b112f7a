"""Keeps a codec from raising its own scheduling priority."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def ordinary_priority() -> None:
    """Return all threads of this process to the ordinary scheduler.

    SVT-AV1, run by root, makes itself and the thread that opens it real-time (SCHED_FIFO 99): it would run before
    everything else on the machine, and so would every process started afterwards.
    """
    if not hasattr(os, "sched_setscheduler"):
        return
    for task in Path("/proc/self/task").iterdir() if Path("/proc/self/task").is_dir() else ():
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            if os.sched_getscheduler(int(task.name)) != os.SCHED_OTHER:
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
