"""`native.c`, where it was compiled when lvc was built: motion several times as fast, with the same integers.

Without it numpy and PyTorch do the same.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..entropy.passes import Pass

LIBRARY, SOURCE = (Path(__file__).with_name(name) for name in ("_native.so", "native.c"))


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions, or None. Those of another `native.c` than the one beside them are left alone."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
        found.lvc_native_source.restype = ctypes.c_uint32
        found.lvc_choose.restype = ctypes.c_int64
        return found if found.lvc_native_source() == zlib.crc32(SOURCE.read_bytes()) else None
    except (OSError, AttributeError):
        return None


def address(a: np.ndarray) -> ctypes.c_void_p:
    """Of a contiguous array; raises `ValueError` for another, whose memory is not what its shape says."""
    if not a.flags.c_contiguous:
        raise ValueError("an array is not contiguous")
    return ctypes.c_void_p(a.ctypes.data)


class _Fields(ctypes.Structure):
    """`Fields` of native.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in (
            "reference", "frame", "found", "last", "order", "near", "filters", "component_bits", "planes", "across",
            "base", "out",
        )),
        *((name, ctypes.c_int64) for name in ("rows", "cols", "components")),
    ]  # fmt: skip


class Blocks:
    """What native.c needs to go through the 16x16 blocks of one video's frames in the order of `passes`."""

    def __init__(
        self, rows: int, cols: int, passes: list[Pass], margin: int, filters: np.ndarray, component_bits: np.ndarray
    ) -> None:
        """`filters` int16 [4,6], `component_bits` float32; `margin` by which planes are padded."""
        self._size = rows, cols
        order = np.concatenate([ys * cols + xs for ys, xs, _ in passes])
        near = [np.stack([a * cols + b for a, b in n] or [np.full(len(ys), -1)] * 4, 1) for ys, _, n in passes]
        padded = 16 * rows + 2 * margin, 16 * cols + 2 * margin
        self._kept = {
            "order": order.astype(np.int32), "near": np.concatenate(near).astype(np.int32, order="C"),
            "filters": filters, "component_bits": component_bits, "planes": np.empty((16, *padded), np.uint8),
            "across": np.empty((4, *padded), np.int16),
        }  # fmt: skip

    def run(
        self, function: Callable[..., Any], frames: tuple[np.ndarray, ...], fields: tuple[np.ndarray, ...], *more: Any
    ) -> tuple[np.ndarray, Any]:
        """`frames`: reference and frame uint8 [16·rows,16·cols]; `fields`: found [2,2·rows,2·cols] and last
        [2,rows,cols] → the field int16 like `found`, and what `function` returns."""
        rows, cols = self._size
        reference, frame = (np.ascontiguousarray(p, np.uint8) for p in frames)
        found, last = (np.ascontiguousarray(f, np.int16) for f in fields)
        if reference.shape != (16 * rows, 16 * cols) or reference.shape != frame.shape:
            raise ValueError(f"frames {reference.shape}, {frame.shape} are not of {rows} x {cols} blocks")
        if found.shape != (2, 2 * rows, 2 * cols) or last.shape != (2, rows, cols):
            raise ValueError(f"fields {found.shape}, {last.shape} are not of {rows} x {cols} blocks")
        out = np.empty_like(found)
        arrays: dict[str, np.ndarray] = {
            "reference": reference,
            "frame": frame,
            "found": found,
            "last": last,
            **self._kept,
        }
        arrays |= {"base": np.empty_like(last), "out": out}
        given = _Fields(**{k: address(a) for k, a in arrays.items()}, rows=rows, cols=cols)
        given.components = len(self._kept["component_bits"])
        return out, function(ctypes.byref(given), *more)
