"""Adapts the effort of a live encoder: lowers it when the encoder falls behind, raises it again when it keeps up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

_LATE, _EARLY = 1 / 2, 1 / 8
"""Shares of the allowed latency: above the first, effort is lowered; below the second, it may be raised."""
_STEP = 1 / 8
"""Least time between two steps down, as a share of the latency. A step takes a while to show; several fit in before
frames are dropped."""
_FIRST_CALM, _LONGEST_CALM = 2.0, 3600.0
"""How long the encoder must have kept up before a step up: a multiple of the latency, doubled after each step up that
had to be taken back; and the limit, in seconds."""


class Pace:
    """Returns the effort for a frame when called before it: one of `efforts`, in descending order. `waited` returns how
    many seconds the oldest frame has been waiting, `latency` is the allowed number; `notice` receives every change."""

    def __init__(
        self,
        efforts: Sequence[int],
        latency: float,
        waited: Callable[[], float],
        notice: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._efforts, self._place = efforts, 0
        self._latency, self._waited, self._notice, self._clock = latency, waited, notice, clock
        self._calm = _FIRST_CALM * latency
        self._changed = self._late = clock() - self._calm
        self._tried = False

    def __call__(self) -> int:
        now, waited = self._clock(), self._waited()
        if waited > _EARLY * self._latency:
            self._late = now
        if waited > _LATE * self._latency and self._place < len(self._efforts) - 1:
            if now - self._changed >= _STEP * self._latency:
                if self._tried:
                    self._calm = min(2 * self._calm, _LONGEST_CALM)
                self._change(1, now, "the encoder is falling behind: lowering effort to")
        elif self._place > 0 and now - max(self._late, self._changed) >= self._calm:
            self._change(-1, now, "the encoder keeps up: raising effort to")
        return self._efforts[self._place]

    def _change(self, step: int, now: float, why: str) -> None:
        self._place += step
        self._changed, self._tried = now, step < 0
        self._notice(f"{why} {self._efforts[self._place]}")
