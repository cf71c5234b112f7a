"""The detail of a frame: what the networks leave of it, as a DCT of 8x8 samples with adaptive contexts. In C;
`detail_reference.py` is the same in Python."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from . import detail_reference
from .coder import Coder
from .library import address, compiled, library

Array = npt.NDArray[Any]
Planes = tuple[Array, Array]
PARTS, COEFFICIENTS = 6, 64


def _shape(planes: Planes) -> tuple[int, int]:
    """Rows and columns of blocks of 16x16 luma samples. Raises `ValueError`."""
    luma, chroma = planes
    rows, columns = luma.shape[0] // 16, luma.shape[1] // 16
    if luma.shape != (16 * rows, 16 * columns) or chroma.shape != (2, 8 * rows, 8 * columns):
        raise ValueError(f"planes of {luma.shape} and {chroma.shape} are not of whole blocks")
    if luma.dtype != np.int16 or chroma.dtype != np.int16:
        raise ValueError("planes are int16")
    return rows, columns


def code(
    planes: Planes, quality: int, coder: Coder | None, levels: Array | None = None, overwrite: bool = False
) -> Planes:
    """Code a frame's detail and add it to the frame.

    Args:
        planes: Luma int16 [16·h,16·w] and chroma int16 [2,8·h,8·w] without detail, 12-bit samples.
        quality: The frame's, 0 to 127.
        coder: The stream. `None`: `levels` are only added.
        levels: int16 [h,w,6,64]: quantised coefficients of four 8x8 blocks of luma and one of each chroma plane;
            `None`: none. A reader fills them, if they are given.
        overwrite: The result may take the planes' place, which saves memory.

    Returns:
        The planes with detail.
    """
    rows, columns = _shape(planes)
    if not 0 <= quality < 128:
        raise ValueError(f"a quality of {quality}")
    fits = levels is None or (levels.dtype == np.int16 and levels.shape == (rows, columns, PARTS, COEFFICIENTS))
    if levels is not None and not (fits and levels.flags.c_contiguous):
        raise ValueError(f"levels are {levels.dtype} {levels.shape}")
    luma, chroma = (np.array(p, order="C", copy=None if overwrite else True) for p in planes)
    if (engine := compiled()) is None:
        detail_reference.code(None if coder is None else coder.python, quality, levels, luma, chroma)
        return luma, chroma
    made = engine.lvc_detail(
        None if coder is None else coder.pointer, rows, columns, quality,
        None if levels is None else address(levels), address(luma), address(chroma),
    )  # fmt: skip
    if not made:
        raise MemoryError("no memory for the detail of a frame")
    return luma, chroma


def find(source: Planes, planes: Planes, quality: int, worth: float, rounding: float) -> Array | None:
    """Choose the detail of a frame.

    Args:
        source, planes: What is to be coded, and what is coded of it so far, as for `code`.
        quality: The frame's.
        worth: Bits that a squared error of 1 is worth, in 12-bit samples.
        rounding: Steps that are added to a coefficient's size before it is cut off.

    Returns:
        The levels, or `None` if there are none. For the encoder's decisions; not part of the format.
    """
    rows, columns = _shape(planes)
    if _shape(source) != (rows, columns):
        raise ValueError("planes of two sizes")
    levels = np.empty((rows, columns, PARTS, COEFFICIENTS), np.int16)
    found = library().lvc_detail_find(
        *(address(np.ascontiguousarray(p)) for p in (*source, *planes)), rows, columns, quality,
        ctypes.c_float(worth), ctypes.c_float(rounding), address(levels),
    )  # fmt: skip
    return levels if found else None


def none(planes: Planes) -> Array:
    """The levels of a frame without detail."""
    return np.zeros((*_shape(planes), PARTS, COEFFICIENTS), np.int16)
