"""Motion in plain numpy: what the C of `motion*.c` computes, to be read and compared with.

A field says for every 8x8 luma block which of two references it is predicted from (`mode` 0, 1, or 2 for the mean of
both) and by which vectors `mv` [reference, (x, y), rows, cols], in quarter luma samples: the block at p comes from
p + mv/4. Vectors are within ±4095, those of a reference that is not used are 0.
"""

from __future__ import annotations

import numpy as np

TOP = LONGEST = 4095
"""The largest sample (12 bits), and the longest component of a vector."""

LUMA_FILTERS = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ]
)
"""HEVC's, for quarters of a sample; the fourth tap is the sample's own."""

CHROMA_FILTERS = np.array(
    [
        [0, 64, 0, 0], [-2, 58, 10, -2], [-4, 54, 16, -2], [-6, 46, 28, -4],
        [-4, 36, 36, -4], [-4, 28, 46, -6], [-2, 16, 54, -4], [-2, 10, 58, -2],
    ],
)  # fmt: skip
"""HEVC's, for eighths; the second tap is the sample's own."""


def compensate(
    refs: list[tuple[np.ndarray, np.ndarray] | None], mode: np.ndarray, mv: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The prediction P and the difference D of both predictions, each (luma, chroma), from references (luma [H,W],
    chroma [2,H/2,W/2]) of 12-bit samples."""
    luma = [None if r is None else r[0].astype(np.int64) for r in refs]
    p, d = _plane(luma, mode, mv, 8, 4, LUMA_FILTERS)
    parts = []
    for c in range(2):
        chroma = [None if r is None else r[1][c].astype(np.int64) for r in refs]
        parts.append(_plane(chroma, mode, mv, 4, 2, CHROMA_FILTERS))
    return (p, np.stack([part[0] for part in parts])), (d, np.stack([part[1] for part in parts]))


def _plane(
    refs: list[np.ndarray | None], mode: np.ndarray, mv: np.ndarray, block: int, ramp: int, filters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Every block predicts a window that reaches half a ramp into its neighbours. Along each axis a window's weights
    rise by 1, 3, … over the ramps; those of all windows add up to 2·ramp at each sample."""
    rows, cols = mode.shape
    size, half, full = block + ramp, ramp // 2, 2 * ramp
    p, d = (np.zeros((rows * block + ramp, cols * block + ramp), np.int64) for _ in range(2))
    rise = np.full(size, full)
    rise[:ramp] = 2 * np.arange(ramp) + 1
    rise[-ramp:] = rise[:ramp][::-1]
    for r in range(rows):
        for c in range(cols):
            down, along = rise.copy(), rise.copy()
            # at the picture's edges a block is its own neighbour
            if r == 0:
                down[half:ramp] = full
            if r == rows - 1:
                down[block : block + half] = full
            if c == 0:
                along[half:ramp] = full
            if c == cols - 1:
                along[block : block + half] = full
            windows = [
                moved(refs[k], r * block - half, c * block - half, mv[k, :, r, c], size, filters)
                for k in (0, 1)
                if mode[r, c] in (k, 2)
            ]
            weights = down[:, None] * along
            at = np.s_[r * block : r * block + size, c * block : c * block + size]
            if len(windows) == 2:
                p[at] += weights * ((windows[0] + windows[1] + 1) >> 1)
                d[at] += weights * (windows[0] - windows[1])
            else:
                p[at] += weights * windows[0]
    inside = np.s_[half:-half, half:-half]
    total = full * full
    return tuple(((a[inside] + total // 2) // total).astype(np.int16) for a in (p, d))  # type: ignore[return-value]


def moved(
    plane: np.ndarray | None, top: int, left: int, vector: np.ndarray, size: int, filters: np.ndarray
) -> np.ndarray:
    """The window of size x size samples at (top, left) moved by a vector (x, y) in units of 1/len(filters) sample.
    Edge samples go on for ever. Filtered along rows, rounded, filtered down, rounded, bounded."""
    if plane is None:
        raise ValueError("a block is predicted from a reference that the frame does not have")
    per, taps = filters.shape
    vx, vy = int(vector[0]), int(vector[1])
    lead = taps // 2 - 1
    ys = np.clip(np.arange(size + taps - 1) + top + vy // per - lead, 0, plane.shape[0] - 1)
    xs = np.clip(np.arange(size + taps - 1) + left + vx // per - lead, 0, plane.shape[1] - 1)
    window = plane[ys[:, None], xs]
    for fraction in (vx % per, vy % per):  # the second time rows and columns have changed places
        parts = [window[:, k : k + size] * filters[fraction, k] for k in range(taps)]
        window = ((sum(parts) + 32) >> 6).T
    return np.asarray(window.clip(0, TOP))
