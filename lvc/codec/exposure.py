"""How bright a frame is beside what it is predicted from: cameras that set their exposure by themselves, and fades.

A line is fitted to the means of blocks, source against reference, by least squares with weights that fall with the
error (Cauchy's, as in Holland and Welsch 1977, https://doi.org/10.1080/03610927708827533): what moves counts little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..engine.motion_reference import GAINS, OFFSET_MAX, Exposure

Array = npt.NDArray[np.float32]
SIDE = 8
LEAST = 6.0
"""The median difference, in 12-bit levels, from which a frame is thought to have another exposure."""
CAP, SAVED = 40.0, 0.2
"""Errors of blocks count up to the first; an exposure has to save the second's share of them (decision 009)."""
ROUNDS = 8
STEADY = 100.0
"""Variance of the means, in 12-bit levels squared, at which a gain is half as far from what was expected as the fit
says."""


def block_means(luma: npt.NDArray[np.int16]) -> Array:
    """Of blocks of 8x8, of every second row: float32, flat."""
    height, width = luma.shape
    rows = luma.reshape(height // SIDE, SIDE, width)[:, ::2].sum(1, dtype=np.int32)
    means: Array = (
        (rows.reshape(height // SIDE, width // SIDE, SIDE).sum(2) / (SIDE * SIDE / 2)).astype(np.float32).ravel()
    )
    return means


def fit_exposure(source: Array, references: Sequence[tuple[Array, Exposure]], expected: Exposure) -> Exposure:
    """Of block means of a frame and of its references, which have exposures: the frame's."""
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
