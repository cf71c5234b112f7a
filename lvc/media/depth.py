"""Samples of 8 bits, in uint8, and of 10 bits, in uint16. No PyAV in here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvc.media.types import Plane

DEPTHS = (8, 10)


def depth_of(plane: Plane) -> int:
    """Bits a sample."""
    return 8 if plane.dtype == np.uint8 else 10


def in_depth(plane: Plane, depth: int) -> Plane:
    return in_eight_bits(plane) if depth == 8 else in_ten_bits(plane)


def in_eight_bits(plane: Plane) -> npt.NDArray[np.uint8]:
    """Round to 8 bits without dither; a plane of 8 bits is returned unchanged."""
    if depth_of(plane) == 8:
        return plane.astype(np.uint8, copy=False)
    rounded: npt.NDArray[np.uint8] = np.minimum((plane + np.uint16(2)) >> np.uint16(2), 255).astype(np.uint8)
    return rounded


def in_ten_bits(plane: Plane) -> npt.NDArray[np.uint16]:
    """Multiply samples of 8 bits by 4; a plane of 10 bits is returned unchanged."""
    if depth_of(plane) == 10:
        return plane.astype(np.uint16, copy=False)
    return plane.astype(np.uint16) << np.uint16(2)
