"""Retries: temporary failures are tried five times, with growing pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from lvc.errors import MediaError
from lvc.pipeline import told_to_stop

T = TypeVar("T")

ATTEMPTS = 5
FIRST_PAUSE = 0.25  # seconds; doubles each time
MAX_PAUSE = 20.0
TIMEOUT = 20.0  # seconds without a byte


class TemporaryFailure(Exception):
    """A failure that a retry may cure. `wait`: seconds that the server asked for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def attempts(action: Callable[[], T]) -> T:
    """The result of `action`. Raises `MediaError` after the last attempt, and any error of `action` other than
    `TemporaryFailure`."""
    number = 0
    while True:
        try:
            return action()
        except TemporaryFailure as failure:
            number += 1
            if number >= ATTEMPTS or told_to_stop():
                times = f"{number} times" if number > 1 else "once"
                raise MediaError(f"{failure} ({times}) — check the URL and the network, and try again") from failure
            pause = FIRST_PAUSE * 2**number * random.uniform(0.5, 1.0)
            _sleep(min(max(pause, failure.wait), MAX_PAUSE))


def _sleep(seconds: float) -> None:
    """Wakes up when the thread is told to stop."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not told_to_stop():
        time.sleep(min(left, 0.1))
