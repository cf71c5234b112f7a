"""Probability tables of packing `field`: one for each scale and each eighth of a symbol (`formats/lvz.md`, 8.4).

Only additions, multiplications and divisions of doubles are used, which IEEE 754 fixes, so that every machine computes
the same tables. A table has the symbols −63..63 and an escape.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lvc.entropy.coder import make_table

IntArray = npt.NDArray[Any]

REACH = 63
ESCAPE = 2 * REACH + 1
EIGHTHS = 8
SCALES = 28  # scales with tables of their own; larger ones code the low bits separately
MAX_SCALE = SCALES + 4 * 16 - 1  # 16 low bits: a table then covers more than any int16
_QUARTERS = (9, 11, 13, 15)
THRESHOLDS = np.array([_QUARTERS[j % 4] << (j // 4) for j in range(MAX_SCALE)], np.int64)


def scale_of(activity: IntArray) -> IntArray:
    """Return the scale, 0..`MAX_SCALE`, of an expected size in 128ths of a symbol: four steps an octave."""
    scale: IntArray = np.digitize(activity, THRESHOLDS)
    return scale


def low_bits(scale: IntArray) -> IntArray:
    """Return how many low bits of a value with this scale are coded separately."""
    low: IntArray = np.maximum(0, (scale - SCALES + 4) >> 2)
    return low


def _exponential(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(1 + t/4096)^4096 by squaring: the e^t of this format."""
    power = 1.0 + t * (1.0 / 4096.0)
    for _ in range(12):
        power = power * power
    return power


def weights(scale: int, eighth: int) -> IntArray:
    """Return the 128 integer weights of `scale` (0..27) for a mean at `eighth`/8 (−4..3) from the symbol 0."""
    size = float(THRESHOLDS[scale]) * (1.0 / 96.0)
    edges = (np.arange(-REACH, REACH + 2, dtype=np.float64) - 0.5 - eighth * 0.125) / size
    distance = np.minimum(np.abs(edges), 12.0)
    grown = _exponential(distance * 1.625 + distance * distance * distance * 0.046875)
    below = np.where(edges < 0, 1.0, grown) / (1.0 + grown)
    mass = np.floor((below[1:] - below[:-1]) * 16777216.0)
    return np.append(np.maximum(mass, 0), 1).astype(np.int64)


@cache
def table(scale: int, eighth: int) -> Any:
    """Return the compiled table, made on first use."""
    return make_table(weights(scale, eighth))


@cache
def bits() -> npt.NDArray[np.float64]:
    """Return the cost of symbols, `[scales, eighths, 128]`. For estimates only."""
    rows = np.array([[weights(s, e - 4) for e in range(EIGHTHS)] for s in range(SCALES)], np.float64) + 1
    cost: npt.NDArray[np.float64] = -np.log2(rows / rows.sum(-1, keepdims=True))
    return cost
