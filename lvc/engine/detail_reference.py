"""The detail of a frame in plain Python: a readable reference for `detail.c`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .rans_reference import Coder, Context, Reader, starts

Contexts = dict[tuple[Any, ...], Context]

SIDE, UNARY, LARGEST = 8, 8, 32767
STEPS = 2969, 2843, 2723, 2607, 2497, 2391, 2289, 2192, 2099, 2010, 1925, 1844, 1765, 1691, 1619, 1550
"""Steps of quantisation at qualities 0 … 15, in 12-bit samples; they halve every 16 qualities."""
ZIGZAG = [
    8 * v + u
    for d in range(15)
    for v, u in ((d - k, k) if d % 2 == 0 else (k, d - k) for k in range(d + 1))
    if v < SIDE and u < SIDE
]
DCT = np.array(
    [
        [64, 64, 64, 64, 64, 64, 64, 64], [89, 75, 50, 18, -18, -50, -75, -89],
        [83, 36, -36, -83, -83, -36, 36, 83], [75, -18, -89, -50, 50, 89, 18, -75],
        [64, -64, -64, 64, 64, -64, -64, 64], [50, -89, 18, 75, -75, -18, 89, -50],
        [36, -83, 83, -36, -36, 83, -83, 36], [18, -50, 75, -89, 89, -75, 50, -18],
    ]
)  # fmt: skip
"""HEVC's 8-point transform; rows are frequencies."""


def start() -> Contexts:
    """The contexts at the start of a frame."""
    names: list[tuple[Any, ...]] = [("coded", k, n) for k in range(2) for n in range(3)]
    names += [("end", k, c) for k in range(2) for c in range(6)]
    names += [("nonzero", k, d, n) for k in range(2) for d in range(4) for n in range(10)]
    names += [("greater", k, s, n) for k in range(2) for s in range(UNARY) for n in range(10)]
    return dict(zip(names, starts("detail_start.h", len(names)), strict=True))


def near_class(total: int) -> int:
    """The class of the sum of neighbours' sizes."""
    return total if total < 5 else 5 if total < 7 else 6 if total < 10 else 7 if total < 15 else 8 if total < 25 else 9


def code_block(stream: Coder, contexts: Contexts, kind: int, levels: np.ndarray) -> None:
    """Code the levels [64] of a block that are not all 0, in place."""
    reading = isinstance(stream, Reader)
    given = [0] * 64 if reading else [int(v) for v in levels]
    size = np.zeros((SIDE + 2, SIDE + 2), int)
    last = max((i for i in range(64) if given[ZIGZAG[i]]), default=0)
    group, base = 0, 1
    while group < 6 and stream.bit(contexts["end", kind, group], int(last >= base)):
        group, base = group + 1, 2 * base
    last = base // 2 + stream.raw(group - 1, max(last - base // 2, 0)) if group else 0
    for i in range(last, -1, -1):
        at = ZIGZAG[i]
        v, u = divmod(at, 8)
        near = near_class(int(size[v, u + 1] + size[v, u + 2] + size[v + 1, u] + size[v + 2, u] + size[v + 1, u + 1]))
        diagonal = 0 if u + v == 0 else 1 if u + v < 3 else 2 if u + v < 7 else 3
        if i < last and not stream.bit(contexts["nonzero", kind, diagonal, near], int(given[at] != 0)):
            continue
        made = 1
        while made <= UNARY and stream.bit(contexts["greater", kind, made - 1, near], int(abs(given[at]) > made)):
            made += 1
        if made > UNARY:
            made += stream.golomb(0 if near < 9 else 3, max(abs(given[at]) - made, 0))
        made = min(made, LARGEST)
        size[v, u] = made
        given[at] = -made if stream.raw(1, int(given[at] < 0)) else made
    levels[:] = given


def residual(levels: np.ndarray, step: int) -> np.ndarray:
    """The inverse transform of levels [64], int [8,8]."""
    c = np.clip(levels.reshape(8, 8).astype(np.int64) * step, -32768, 32767)
    columns = np.clip((DCT.T @ c + 64) >> 7, -32768, 32767)
    made: np.ndarray = (columns @ DCT + 128) >> 8
    return made


def code(
    stream: Coder | None,
    quality: int,
    levels: np.ndarray | None,
    luma: np.ndarray,
    chroma: np.ndarray,
    contexts: Contexts | None = None,
) -> None:
    """As `lvc.engine.detail.code`, in place."""
    rows, columns = luma.shape[0] // 16, luma.shape[1] // 16
    reading = isinstance(stream, Reader)
    if levels is None:
        levels = np.zeros((rows, columns, 6, 64), np.int16)
    elif reading:
        levels[:] = 0
    step = STEPS[quality & 15] >> (quality >> 4)
    contexts = contexts or start()
    present = bool(levels.any())
    if stream is not None:
        present = bool(stream.raw(1, int(present)))
    if not present:
        return
    planes = [luma, chroma[0], chroma[1]]
    coded = [np.zeros((p.shape[0] // 8 + 1, p.shape[1] // 8 + 1), int) for p in planes]
    for y, x, part in np.ndindex(rows, columns, 6):
        if part == 0 and isinstance(stream, Reader) and stream.over:
            return  # the stream's bytes bound the work: the caller will find it damaged
        kind, plane = int(part >= 4), max(part - 3, 0)
        by, bx = (y, x) if kind else (2 * y + part // 2, 2 * x + part % 2)
        flags, block = coded[plane], levels[y, x, part]
        filled = int(block.any())
        if stream is not None:
            filled = stream.bit(contexts["coded", kind, flags[by + 1, bx] + flags[by, bx + 1]], filled)
        flags[by + 1, bx + 1] = filled
        if not filled:
            continue
        if stream is not None:
            code_block(stream, contexts, kind, block)
        at = planes[plane][8 * by : 8 * by + 8, 8 * bx : 8 * bx + 8]
        at[:] = np.clip(at + residual(block, step), 0, 4095)
