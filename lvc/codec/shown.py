"""Conversion between displayed pictures (8 or 10 bits, own size) and the codec's padded planes of 12-bit samples."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine.motion import Planes
from ..media.depth import depth_of
from ..media.types import Frame

Array = npt.NDArray[Any]
BITS, ALIGN = 12, 16
ROWS = 256
"""Rows converted at a time, which stay in a cache."""


def padded(y: Array, u: Array, v: Array, depth: int) -> Planes:
    """Planes of `depth` bits → 12 bits, sides made multiples of 16 by repeating the last row and column."""
    h, w = y.shape
    ph, pw = -h % ALIGN, -w % ALIGN
    ch, cw = (h + ph) // 2 - u.shape[0], (w + pw) // 2 - u.shape[1]
    luma, chroma = y.astype(np.int16), np.stack([u, v]).astype(np.int16)
    luma <<= BITS - depth
    chroma <<= BITS - depth
    if ph or pw:
        luma = np.pad(luma, ((0, ph), (0, pw)), mode="edge")
    return luma, np.pad(chroma, ((0, 0), (0, ch), (0, cw)), mode="edge") if ch or cw else chroma


def planes_of(frame: Frame) -> Planes:
    return padded(frame.y, frame.u, frame.v, depth_of(frame.y))


def shown(planes: Planes, height: int, width: int, depth: int) -> tuple[Array, Array, Array]:
    """12 bits → the displayed picture, uint8 or (over 8 bits) uint16: y [height,width], u and v half of it, rounded
    up."""
    h2, w2 = -(-height // 2), -(-width // 2)
    shift, top = BITS - depth, (1 << depth) - 1
    # one allocation, half the size of the planes, so that the heap does not fragment
    memory = np.empty(height * width + 2 * h2 * w2, np.uint8 if depth == 8 else np.uint16)
    y, u, v = np.split(memory, [height * width, height * width + h2 * w2])
    y, u, v = y.reshape(height, width), u.reshape(h2, w2), v.reshape(h2, w2)
    for out, plane in ((y, planes[0]), (u, planes[1][0]), (v, planes[1][1])):
        for row in range(0, len(out), ROWS):
            some = plane[row : min(row + ROWS, len(out)), : out.shape[1]] + np.int16(1 << (shift - 1))
            some >>= shift
            out[row : row + ROWS] = np.minimum(some, top, out=some)
    return y, u, v


def checksum(planes: tuple[Array, Array, Array]) -> int:
    """Return the CRC-32 of a displayed frame: Y, U, V, row by row, little-endian."""
    crc = 0
    for plane in planes:
        crc = zlib.crc32(np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).data.cast("B"), crc)
    return crc
