"""Steady frames per second, independent of start-up and of bursts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MIN_FRAMES = 40


class Arrivals:
    """Call it when `count` frames are done (one more by default)."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.start = time.perf_counter()

    def __call__(self, count: int | None = None) -> None:
        now = time.perf_counter() - self.start
        self.times.extend([now] * (1 if count is None else max(0, count - len(self.times))))

    def steady_fps(self) -> float | None:
        """The slope of frame number over time by least squares; `None` if there are too few frames.

        Start-up (imports, loading the model, the first clip) shifts the line but not its slope, and frames in bursts
        lie around the line. A few frames fit into the queues of a pipeline and come all at once.
        """
        n = len(self.times)
        if n < MIN_FRAMES:
            return None
        mean_t, mean_i = sum(self.times) / n, (n - 1) / 2
        spread = sum((i - mean_i) ** 2 for i in range(n))
        seconds_per_frame = sum((i - mean_i) * (t - mean_t) for i, t in enumerate(self.times)) / spread
        return 1 / seconds_per_frame if seconds_per_frame > 0 else None


def timed(items: Iterable[T], spent: list[float]) -> Iterator[T]:
    """Add the seconds that `items` takes to yield, without those of its consumer, to `spent[0]`."""
    iterator = iter(items)
    while True:
        start = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        finally:
            spent[0] += time.perf_counter() - start
        yield item
