"""Noise that a frame does not share with those around it is taken out before it is coded. Only the encoder does so.

Motion-compensated temporal filtering as in HM and VTM (Enhorn, Sjöberg and Wennersten 2020): of the frames around, each
sample takes a share that falls with the distance in time, with what prediction misses in its block, and with how much
the sample itself differs, measured by the step of quantisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import motion, planes

Array = npt.NDArray[Any]
Planes = motion.Planes
STRENGTHS = (2.5, 1.5, 0.8)
"""Of anchors and key frames, of the middles of pyramids, and of the quarters (decision 009)."""
REACH = (4, 2, 2)
"""How many frames before and after help each of them."""
BY_DISTANCE = (0.85, 0.57, 0.41, 0.33)
"""Shares of frames 1, 2, 3 and 4 away."""
CHROMA_DEVIATION = 120.0
"""In 12-bit samples."""
SIDE = 8
KEPT = 4
"""Predictions that wait for the errors of all. Others are made twice: at 1080p each takes 6 MiB, and 10 ms to make."""


def deviation(level: float) -> float:
    """Of luma samples of 12 bits that count as the same: 12 times the quantisation parameter above 10 that an H.264
    encoder has with the same λ (0.85 · 2^((QP - 12)/3) bits a squared step of 8-bit samples)."""
    parameter = 12 + 3 * (np.log2(255**2 / 0.85) - level)
    return float(12 * max(parameter - 10, 1.5))


def filtered(
    source: Planes, around: Sequence[tuple[int, Callable[[], Planes]]], level: float, strength: float
) -> Planes:
    """`source`, padded planes, with the help of frames `around`: how many frames away each is, and what makes its
    planes."""
    luma, chroma = source
    now, weight = motion.Picture(luma, chroma, reference=False), motion.weight_of(level)

    def compensated(planes_of: Callable[[], Planes], mode: Array, mv: Array) -> Planes:
        return motion.compensate(planes_of(), None, mode, mv)[0]

    found, missed, kept = [], [], dict[int, Planes]()
    for number, (_, planes_of) in enumerate(around):
        mode, mv, _ = motion.search(now, (motion.Picture(*planes_of()), None), 1, (0, None), weight, effort=0)
        found.append((mode, mv))
        predicted = compensated(planes_of, mode, mv)
        missed.append(_block_errors(luma, predicted[0]))
        if number < KEPT:
            kept[number] = predicted
    if not missed:
        return source
    least, deviations = np.minimum.reduce(missed), (deviation(level), CHROMA_DEVIATION, CHROMA_DEVIATION)
    blends = [planes.Blend(plane) for plane in (luma, *chroma)]
    for number, (distance, planes_of) in enumerate(around):
        error = missed[number]
        trust = np.where(error < 50, 1.2, np.where(error > 100, 0.6, 1.0)) * (least + 1) / (error + 1)
        share = (strength * BY_DISTANCE[distance - 1] * trust).astype(np.float32)
        width = np.where(error < 50, 1.3, np.where(error > 100, 0.8, 1.0)).astype(np.float32)
        predicted = kept.pop(number) if number in kept else compensated(planes_of, *found[number])
        for blend, plane, d in zip(blends, (predicted[0], *predicted[1]), deviations, strict=True):
            blend.add(plane, share, d**-2 / 2 / width)
    made, *each = (blend.mean() for blend in blends)
    return made, np.stack(each)


def _block_errors(a: Array, b: Array) -> Array:
    """Mean squared differences of blocks, in units of 1/64: [H/8,W/8]."""
    h, w = a.shape
    d = (a - b).astype(np.float32).reshape(h // SIDE, SIDE, w // SIDE, SIDE)
    errors: Array = np.einsum("iajb,iajb->ij", d, d) / (SIDE * SIDE * 64)
    return errors
