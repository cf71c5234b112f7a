"""The sampler sees work where it is done, and waiting as waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from lvc.evaluation.metrics import ssim
from lvc.evaluation.sampling import Sampler
from lvc.pipeline import ReadAhead
from tests.helpers.waiting import PATIENCE, wait_for


@pytest.mark.slow
def test_work_and_waiting_are_told_apart() -> None:
    a = np.random.default_rng(1).integers(0, 255, (240, 320)).astype(np.uint8)
    enough = threading.Event()

    def blocked() -> Iterator[int]:
        enough.wait(PATIENCE)
        yield 1

    def seen() -> bool:
        for _ in range(50):  # one alone gives way only when it is done, and is then never seen
            ssim(a, a)
        return "evaluation.metrics.ssim" in sampler.samples["MainThread"]

    with Sampler(0.002) as sampler, ReadAhead(blocked(), 1) as items:
        wait_for(seen)  # a busy machine may look elsewhere for a while
        enough.set()
        assert list(items) == [1]
    shares = {thread: dict(parts) for thread, parts in sampler.shares(least=0).items()}
    assert shares["MainThread"]["evaluation.metrics.ssim"] > 0
    assert shares["lvc-read"] == {"waiting": 1.0}
