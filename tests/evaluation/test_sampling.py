"""The sampler sees work where it is done, and waiting as waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np

from lvc.evaluation.metrics import ssim
from lvc.evaluation.sampling import Sampler
from lvc.pipeline import ReadAhead


def test_work_and_waiting_are_told_apart() -> None:
    a = np.random.default_rng(1).integers(0, 255, (240, 320)).astype(np.uint8)
    enough = threading.Event()

    def blocked() -> Iterator[int]:
        enough.wait(20)
        yield 1

    with Sampler(0.002) as sampler, ReadAhead(blocked(), 1) as items:
        end = time.monotonic() + 10  # a busy machine may look elsewhere for a while
        while "evaluation.metrics.ssim" not in sampler.samples["MainThread"] and time.monotonic() < end:
            ssim(a, a)
        enough.set()
        assert list(items) == [1]
    shares = {thread: dict(parts) for thread, parts in sampler.shares(least=0).items()}
    assert shares["MainThread"]["evaluation.metrics.ssim"] > 0
    assert shares["lvc-read"] == {"waiting": 1.0}
