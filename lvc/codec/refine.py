"""Refines a frame's latents: moves some by a step where that saves more, in bits and error together, than it costs.

What a step changes of the error is a second-order estimate from the decoder's gradient; what it changes of the bits is
read from the tables with which each latent is coded. Discrete, where others descend on relaxed latents (Campos et al.
2019, https://arxiv.org/abs/1906.01223; Yang et al. 2020, https://arxiv.org/abs/2006.04240). Encoder only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..engine.library import address, library


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
    worth: float,
    bits: npt.NDArray[np.float32],
    rounds: int,
) -> npt.NDArray[np.int16]:
    """Return better latents to code than `y`.

    Args:
        y: A frame's latents in sixteenths of a step, int16 [rows, columns, channels].
        coded: What becomes of latents when they are coded.
        slope: The gradient of the decoded frame's error by the latents' values.
        curvature: Its second derivative, [channels].
        worth: The bits that an error of 1 is worth.
        bits: What symbols cost (`Tables.bits`).
        rounds: How often latents may move, at most three of a block each time. A round takes a run of the decoder,
            forwards and backwards.
    """
    y, step = np.array(y), library().lvc_refine
    for _ in range(rounds):
        found = coded(y)
        given = (*found, slope(found.values), curvature)
        blocks, channels = (ctypes.c_int64(n) for n in (y.shape[0] * y.shape[1], y.shape[2]))
        step(*[address(a) for a in given], ctypes.c_float(worth), address(bits), blocks, channels, address(y))
    return y
