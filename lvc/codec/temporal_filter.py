"""Removes noise that a frame does not share with the frames around it, before it is coded. Only the encoder does this.

Motion-compensated temporal filtering as in HM and VTM (Enhorn, Sjöberg and Wennersten 2020): each sample takes a share
of the frames around, which falls with the distance in time, with the prediction error of its block, and with the
difference of the sample itself relative to the quantisation step.
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
"""Strengths for anchors and key frames, for the middles of pyramids, and for the quarters (decision 009)."""
REACH = (4, 2, 2)
"""How many frames before and after each of these is filtered with."""
BY_DISTANCE = (0.85, 0.57, 0.41, 0.33)
"""Weights of frames 1, 2, 3 and 4 away."""
CHROMA_DEVIATION = 120.0
"""In 12-bit samples."""
SIDE = 8
KEPT = 4
"""Predictions that are kept until all errors are known. Others are computed twice: at 1080p one takes 6 MiB and 10
ms."""


def deviation(level: float) -> float:
    """Difference of 12-bit luma samples that count as equal: 12 times the excess over 10 of the quantisation parameter
    of an H.264 encoder with the same λ (0.85 · 2^((QP - 12)/3) bits a squared step of 8-bit samples)."""
    parameter = 12 + 3 * (np.log2(255**2 / 0.85) - level)
    return float(12 * max(parameter - 10, 1.5))


def filtered(
    source: Planes, around: Sequence[tuple[int, Callable[[], Planes]]], level: float, strength: float
) -> Planes:
    """Filter the padded planes `source` with the frames `around`: the distance of each, and a function that returns its
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
