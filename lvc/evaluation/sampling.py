"""A sampling profiler: records what every thread is doing, a hundred times a second.

A deterministic profiler would slow down Python but not the networks, and see only one thread. A sample counts for the
innermost function of the package on a thread's stack; waiting for another stage counts as `waiting`.
"""

from __future__ import annotations

import collections
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

PACKAGE = Path(__file__).resolve().parent.parent
WAITING = "pipeline"


class Sampler:
    """A context manager; `shares` afterwards says for each thread which part of its samples fell where."""

    def __init__(self, period: float = 0.01) -> None:
        self.samples: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self._period = period
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def shares(self, least: float = 0.02) -> dict[str, list[tuple[str, float]]]:
        """By thread: (place, share), largest first, without what is under `least`."""
        found = {}
        for thread, counts in self.samples.items():
            total = counts.total()
            found[thread] = [(place, n / total) for place, n in counts.most_common() if n / total >= least]
        return found

    def _watch(self) -> None:
        while not self._over.wait(self._period):
            names = {t.ident: t.name for t in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != self._thread.ident and (place := place_of(frame)):
                    self.samples[names.get(ident, "?")][place] += 1


def place_of(frame: FrameType | None) -> str:
    """`codec.frames.decode` of the innermost frame that is the package's, or an empty string."""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            return "waiting" if module == WAITING else f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back
    return ""
