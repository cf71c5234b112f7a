"""Samples of what a decoder sees, kept while frames are coded."""

from __future__ import annotations

import heapq
import itertools
import threading
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..codec import frames as coding
from ..codec.payload import level_of
from ..engine import planes
from ..models.load import Model

SIDE, EDGE = 24, 3
"""Rows and columns of a sample, at most, in 16x16 blocks. So many at an edge within the picture lack neighbours that
change them, and do not count."""
SHARE = 1.0, 1.0, 0.7, 0.4, 0.25, 0.2
"""Of the frames of each place in the pyramid that may give a sample: others are predicted from the first ones."""


@dataclass(frozen=True)
class Sample:
    """Of a predicted frame: patches of the prediction, of the difference of both predictions and of what the prediction
    misses, int16 `[2·rows,2·columns,96]`; the latents' values, int16 `[rows,columns,channels]`; which 16x16 blocks
    count, bool; the row of the tables; the level."""

    prediction: np.ndarray
    difference: np.ndarray
    missed: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    row: int
    level: float


class Samples:
    """Keeps `most` of the samples offered, at 1.5 MB each. Which ones follows from their content and from `seed`: not
    from the threads that offer them."""

    def __init__(self, most: int, seed: int = 0) -> None:
        self.seed = seed
        self._most = most
        self._kept: list[tuple[float, int, Sample]] = []
        self._number = itertools.count()
        self._one = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def wants(self, rank: float) -> bool:
        """Whether a sample of this rank, from 0 to 1, would be kept: the lowest are."""
        with self._one:
            return len(self._kept) < self._most or -self._kept[0][0] > rank

    def add(self, rank: float, sample: Sample) -> None:
        with self._one:
            heapq.heappush(self._kept, (-rank, next(self._number), sample))
            if len(self._kept) > self._most:
                heapq.heappop(self._kept)

    def drawn(self) -> list[Sample]:
        """The samples, in random order."""
        return [sample for _, _, sample in sorted(self._kept, key=lambda item: -item[0])]


class Collector(coding.FrameEncoder):
    """An encoder that offers `samples` what its decoder sees. Frames may be coded side by side."""

    def __init__(self, model: Model, height: int, width: int, samples: Samples, **given: Any) -> None:
        super().__init__(model, height, width, **given)
        self._samples = samples

    def predicted(self, time: int, refs: Any, place: int, quality: int, source: Any, *more: Any) -> Any:
        self._local.now = time, place, quality, source
        return super().predicted(time, refs, place, quality, source, *more)

    def _residual(
        self, prediction: Any, difference: Any, row: int, skip: Any, wanted: Any, coder: Any, **given: Any
    ) -> Any:
        made, values = super()._residual(prediction, difference, row, skip, wanted, coder, **given)
        time, place, quality, source = self._local.now
        content = zlib.crc32(source[0][::8].tobytes())
        rng = np.random.default_rng((self._samples.seed, time, quality, content))
        share, rank = rng.random(2)
        if share >= SHARE[min(place, len(SHARE) - 1)] or not self._samples.wants(rank):
            return made, values
        luma, chroma = source
        missed = planes.to_patches(luma, chroma, coding.OFFSET) - prediction
        ys, xs = np.nonzero(wanted)
        k = int(rng.integers(len(ys)))
        rows, columns = (_around(int(at), whole // 2) for at, whole in zip((ys[k], xs[k]), self.size, strict=True))
        blocks, patches = np.s_[rows, columns], np.s_[_doubled(rows), _doubled(columns)]
        counts = wanted.copy()
        for axis, part in enumerate((rows, columns)):
            counts = np.moveaxis(counts, axis, 0)
            counts[: part.start + EDGE if part.start else 0] = False
            counts[part.stop - EDGE if part.stop < len(counts) else len(counts) :] = False
            counts = np.moveaxis(counts, 0, axis)
        sample = Sample(
            prediction[patches].copy(), difference[patches].copy(), missed[patches].copy(), values[blocks].copy(),
            counts[blocks].copy(), row, level_of(quality),
        )  # fmt: skip
        self._samples.add(rank, sample)
        return made, values


def _around(at: int, whole: int) -> slice:
    """Of `whole` blocks in a row, a sample's, with the one at `at` in its middle if there is room."""
    first = min(max(at - SIDE // 2, 0), max(0, whole - SIDE))
    return slice(first, min(whole, first + SIDE))


def _doubled(part: slice) -> slice:
    return slice(2 * part.start, 2 * part.stop)
