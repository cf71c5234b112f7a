"""The sampler sees work where it is done, and waiting as waiting."""

from __future__ import annotations

import time

import numpy as np

from lvc.evaluation.metrics import ssim
from lvc.evaluation.sampling import Sampler
from lvc.pipeline import ReadAhead


def test_work_and_waiting_are_told_apart() -> None:
    a = np.random.default_rng(1).integers(0, 255, (240, 320)).astype(np.uint8)

    def slow() -> object:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            yield ssim(a, a)

    with Sampler(0.002) as sampler, ReadAhead(slow(), 1) as items:
        for _ in items:
            pass
    shares = {thread: dict(parts) for thread, parts in sampler.shares().items()}
    assert shares["MainThread"]["waiting"] > 0.5
    assert sum(share for place, share in shares["lvc-read"].items() if place.startswith("evaluation.metrics")) > 0.5
