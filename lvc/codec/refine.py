"""Refines a frame's latents: moves some by a step where that saves more, in bits and error together, than it costs.

What a step changes of the error is a second-order estimate from the decoder's gradient; what it changes of the bits is
read from the tables with which each latent is coded. Discrete, where others descend on relaxed latents (Campos et al.
2019, https://arxiv.org/abs/1906.01223; Yang et al. 2020, https://arxiv.org/abs/2006.04240). Encoder only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..engine import program as p
from ..engine.reference import MEAN_BITS

STEP = 1 << MEAN_BITS
AT_ONCE = 3
"""Latents of a block that may move in a round. What many do together is not what each does alone (decision 009)."""


class Latents(NamedTuple):
    """A frame's latents as they are coded: int16 values and symbols and uint8 tables, [rows, columns, channels]."""

    values: npt.NDArray[np.int16]
    symbols: npt.NDArray[np.int16]
    tables: npt.NDArray[np.uint8]


def refine(
    y: npt.NDArray[np.int16],
    coded: Callable[[npt.NDArray[np.int16]], Latents],
    slope: Callable[[npt.NDArray[np.int16]], npt.NDArray[np.float32]],
    curvature: npt.NDArray[np.float32],
    bits: npt.NDArray[np.float32],
    rounds: int,
) -> npt.NDArray[np.int16]:
    """Return better latents to code than `y`.

    Args:
        y: A frame's latents in sixteenths of a step, int16 [rows, columns, channels].
        coded: What becomes of latents when they are coded.
        slope: The gradient of the decoded frame's error, in the bits that it is worth, by the latents' values.
        curvature: Its second derivative, [channels].
        bits: What symbols cost (`Tables.bits`).
        rounds: How often each latent may move. Each round takes a run of the decoder, forwards and backwards.
    """
    curve = np.float32(0.5 * STEP * STEP) * curvature
    for _ in range(rounds):
        found = coded(y)
        change_up = np.float32(STEP) * slope(found.values)
        at = found.symbols.astype(np.intp) + p.SYMBOL_MAX
        now = bits[found.tables, at]
        gain, step = np.zeros_like(change_up), np.zeros_like(y)
        for by in (-1, 1):
            change = by * change_up + curve + bits[found.tables, np.clip(at + by, 0, 2 * p.SYMBOL_MAX)] - now
            better = change < gain
            gain, step = np.where(better, change, gain), np.where(better, np.int16(by * STEP), step)
        best = np.partition(gain, AT_ONCE - 1, axis=-1)[..., AT_ONCE - 1 : AT_ONCE]
        moved = np.clip(found.values.astype(np.int32) + step, -32768, 32767).astype(np.int16)
        y = np.where((step != 0) & (gain <= best), moved, y)
    return y
