"""Blocks in passes from coarse to fine, so that every pass is a few array operations: what a block is coded by comes
from blocks of earlier passes, on all sides, and from the frame before."""

from __future__ import annotations

import functools

import numpy as np

from .coder import IntArray

Pass = tuple[IntArray, IntArray, list[tuple[IntArray, IntArray]]]
MARGIN = 2
AROUND = (
    (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1), (-2, 0), (2, 0), (0, -2), (0, 2),
)  # fmt: skip


@functools.lru_cache(maxsize=8)
def passes(height: int, width: int, top: int = 8) -> list[Pass]:
    """(rows, columns, four neighbours already coded) of every pass; the first has none. `top`: a power of two."""
    ys, xs = (g.reshape(-1) for g in np.mgrid[0:height:top, 0:width:top])
    out: list[Pass] = [(ys, xs, [])]
    step = top
    while step > 1:
        half = step // 2
        diagonal = [(-half, -half), (-half, half), (half, -half), (half, half)]
        straight = [(-half, 0), (half, 0), (0, -half), (0, half)]
        gy, gx = np.mgrid[0:height:half, 0:width:half]
        odd_y, odd_x = gy % step != 0, gx % step != 0
        for pick, offsets in ((odd_y & odd_x, diagonal), (odd_y ^ odd_x, straight)):
            ys, xs = gy[pick], gx[pick]
            near = []
            for dy, dx in offsets:
                # outside the grid the opposite neighbour stands in; it is of an earlier pass too
                ny = np.where((ys + dy < 0) | (ys + dy >= height), ys - dy, ys + dy)
                nx = np.where((xs + dx < 0) | (xs + dx >= width), xs - dx, xs + dx)
                ny, nx = np.where((ny < 0) | (ny >= height), 0, ny), np.where((nx < 0) | (nx >= width), 0, nx)
                near.append((ny, nx))
            out.append((ys, xs, near))
        step = half
    return out


@functools.lru_cache(maxsize=4)
def neighbours(height: int, width: int) -> list[IntArray]:
    """Of the passes after the first: places [4·n] of the blocks' neighbours in a flat grid, neighbour by neighbour."""
    return [np.concatenate([ny * width + nx for ny, nx in near]) for _, _, near in passes(height, width)[1:]]


@functools.lru_cache(maxsize=4)
def flag_passes(height: int, width: int) -> list[tuple[IntArray, IntArray, IntArray]]:
    """Passes from 4 on: rows, columns, and places [12,n] of the blocks `AROUND` them in a flat grid that has `MARGIN`
    more on all sides."""
    out = []
    for ys, xs, _ in passes(height, width, 4):
        around = [(ys + MARGIN + dy) * (width + 2 * MARGIN) + xs + MARGIN + dx for dy, dx in AROUND]
        out.append((ys, xs, np.stack(around)))
    return out


def straight(a: IntArray) -> IntArray:
    """[H,W] → sums of the four blocks above, below, left and right, 0 for those outside."""
    out = np.zeros_like(a)
    out[1:] += a[:-1]
    out[:-1] += a[1:]
    out[:, 1:] += a[:, :-1]
    out[:, :-1] += a[:, 1:]
    return out


def diagonal(a: IntArray) -> IntArray:
    """[H,W] → sums of the four blocks at the corners."""
    out = np.zeros_like(a)
    out[1:, 1:] += a[:-1, :-1]
    out[1:, :-1] += a[:-1, 1:]
    out[:-1, 1:] += a[1:, :-1]
    out[:-1, :-1] += a[1:, 1:]
    return out


def size_class(a: IntArray) -> IntArray:
    """Bits of |a|: 0, 1, 2, 2, 3, 3, 3, 3, 4 …"""
    return np.frexp(np.abs(a).astype(np.float64))[1].astype(np.int64)
