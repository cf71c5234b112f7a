"""Processor time and memory of processes, as far as the operating system reports them; Windows has no `resource`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

resource: Any
try:
    import resource
except ImportError:
    resource = None

_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def cpu_seconds() -> float:
    """Processor seconds of this process and, except on Windows, of its child processes that have ended."""
    if resource is None:
        return time.process_time()
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return float(sum(usage.ru_utime + usage.ru_stime for usage in spent))


def peak_rss() -> int:
    """Peak resident bytes of this process; 0 where unknown. From VmHWM where there is /proc, since ru_maxrss may
    be the parent's."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0 if resource is None else int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * _UNIT


def peak_of_children() -> int:
    """Peak resident bytes of the largest child process that has ended; 0 where unknown."""
    return 0 if resource is None else int(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * _UNIT
