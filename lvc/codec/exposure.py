"""Brightness of a frame relative to its references, for cameras with automatic exposure and for fades.

A line is fitted to the means of blocks, source against reference, by least squares with weights that fall with the
error (Cauchy's, as in Holland and Welsch 1977, https://doi.org/10.1080/03610927708827533): moving areas count little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..engine.motion_reference import GAINS, OFFSET_MAX, Exposure

Array = npt.NDArray[np.float32]
SIDE = 8
LEAST = 6.0
"""Median difference, in 12-bit levels, from which a changed exposure is tried."""
CAP, SAVED = 40.0, 0.2
"""Cap on the error of a block, and the share of the error that an exposure must save (decision 009)."""
ROUNDS = 8
STEADY = 100.0
"""Variance of the means, in 12-bit levels squared, at which the gain moves half as far from the expected one as the fit
says."""


def block_means(luma: npt.NDArray[np.int16]) -> Array:
    """Means of 8x8 blocks, from every second row: float32, flat."""
    height, width = luma.shape
    rows = luma.reshape(height // SIDE, SIDE, width)[:, ::2].sum(1, dtype=np.int32)
    means: Array = (
        (rows.reshape(height // SIDE, width // SIDE, SIDE).sum(2) / (SIDE * SIDE / 2)).astype(np.float32).ravel()
    )
    return means


def fit_exposure(source: Array, references: Sequence[tuple[Array, Exposure]], expected: Exposure) -> Exposure:
    """Fit a frame's exposure to the block means of the frame and of its references, whose exposures are known."""
    neutral = np.concatenate([(means - 4 * e.offset) / (e.gain / 64) for means, e in references])
    wanted = np.tile(source, len(references))
    gain = expected.gain / 64
    offset = float(np.median(wanted - gain * neutral))
    if abs(offset - 4 * expected.offset) < LEAST:
        return expected
    steady = STEADY * gain
    for _ in range(ROUNDS):
        error = wanted - gain * neutral - offset
        scale = 1.5 * float(np.median(np.abs(error))) + 4
        weights = 1 / (1 + (error / scale) ** 2)
        weights /= weights.sum()
        mean, aim = float(weights @ neutral), float(weights @ wanted)
        apart = neutral - mean
        gain = (float((weights * apart) @ (wanted - aim)) + steady) / (float(weights @ apart**2) + STEADY)
        gain = min(max(round(64 * gain), GAINS[0]), GAINS[1]) / 64
        offset = aim - gain * mean
    found = Exposure(round(64 * gain), min(max(round(offset / 4), -OFFSET_MAX), OFFSET_MAX))

    def missed(e: Exposure) -> float:
        return float(np.minimum(np.abs(wanted - e.gain / 64 * neutral - 4 * e.offset), CAP).mean())

    return found if missed(found) < (1 - SAVED) * missed(expected) else expected
