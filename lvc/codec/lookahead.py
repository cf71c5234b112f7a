"""How much a frame changes from the one before, measured on pictures of a quarter of the height and width."""

from __future__ import annotations

import numpy as np

from ..engine import motion

BY = 4
WEIGHT = motion.weight_of(10.0)
CUT = 4.0, 0.8
"""A scene cut: the mean absolute error of prediction (luma, of 255) exceeds the first figure, and as a share of the
error of 8x8 block means it exceeds the second."""


Reference = tuple[np.ndarray, motion.Picture]
"""Luma, and what the search makes of it."""


class LookAhead:
    def __init__(self) -> None:
        self._before: Reference | None = None

    def see(self, luma: np.ndarray) -> tuple[float, float]:
        """Take the next frame's luma (int16 [H,W], 12 bits). Return the mean absolute errors (luma, of 255) of
        prediction from the frame before and of block means; for the first frame, both are the latter."""
        small = smaller(luma)
        flat = float(np.abs(small - _means(small)).mean()) / 16
        now, before = motion.Picture(small), self._before
        self._before = small, now
        if before is None:
            return flat, flat
        return float(np.abs(small - predicted(now, before)).mean()) / 16, flat

    @staticmethod
    def cut(missed: float, flat: float) -> bool:
        return missed > CUT[0] and missed > CUT[1] * flat


def missed_by_prediction(
    now: np.ndarray, references: tuple[np.ndarray, np.ndarray], time: int, times: tuple[int, int]
) -> float:
    """Return the mean squared error of a frame's prediction; all pictures come from `smaller`."""
    first, second = ((r, motion.Picture(r)) for r in references)
    made = predicted(motion.Picture(now, reference=False), first, second, time, times)
    return float(np.square(now - made, dtype=np.float32).mean())


def predicted(
    now: motion.Picture,
    first: Reference,
    second: Reference | None = None,
    time: int = 1,
    times: tuple[int, int | None] = (0, None),
) -> np.ndarray:
    """Return the luma that one or two references predict for a picture; all come from `smaller`."""
    (luma, one), (other, two) = first, second or (None, None)
    mode, mv, _ = motion.search(now, (one, two), time, times, WEIGHT, effort=0)
    (made, _), _ = motion.compensate(_grey(luma), None if other is None else _grey(other), mode, mv)
    return made


def _grey(small: np.ndarray) -> motion.Planes:
    return small, np.zeros((2, small.shape[0] // 2, small.shape[1] // 2), np.int16)


def smaller(luma: np.ndarray) -> np.ndarray:
    """Return luma at a quarter of the height and width, padded to multiples of 16."""
    h, w = luma.shape
    small = luma.reshape(h // BY, BY, w // BY, BY).mean((1, 3), dtype=np.float32)
    return np.pad((small + 0.5).astype(np.int16), [(0, -n % 16) for n in small.shape], mode="edge")


def _means(small: np.ndarray) -> np.ndarray:
    h, w = small.shape
    means: np.ndarray = small.reshape(h // 8, 8, w // 8, 8).mean((1, 3), dtype=np.float32)
    return means.repeat(8, 0).repeat(8, 1)
