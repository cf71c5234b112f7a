"""How much effort the encoder of a stream may spend: less when it falls behind, more again when it keeps up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

_LATE, _EARLY = 1 / 2, 1 / 8
"""Shares of the latency that is allowed: from the first on effort goes down, below the second it may go up."""
_STEP = 1 / 8
"""Between two steps down, as a share of that latency: a step takes a while to show. There is time for several before
frames are dropped."""
_FIRST_CALM, _LONGEST_CALM = 2.0, 3600.0
"""How long it must have kept up before a step up: so many times the latency, twice as long after each step up that had
to be taken back, and so many seconds at most."""


class Pace:
    """Called before every frame, gives its effort, one of `efforts`, which fall. `waited` tells for how many seconds
    the oldest frame has been waiting, `latency` how many are allowed; every change is told to `notice`."""

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
