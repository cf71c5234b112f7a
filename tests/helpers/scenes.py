"""Drawn scenes whose motion is known."""

from __future__ import annotations

import numpy as np

from lvc.media.types import Frame


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth noise, float64 [height, width] in 0..255: its samples can be shifted by parts."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    total = np.zeros((height, width))
    for _ in range(24):
        fy, fx, phase = rng.uniform(-0.45, 0.45), rng.uniform(-0.45, 0.45), rng.uniform(0, 6.28)
        total += np.sin(fy * y + fx * x + phase)
    return 128 + 90 * total / np.abs(total).max()


def scene(moment: float, speed: tuple[float, float], size: tuple[int, int] = (96, 128), pts: int = 0) -> Frame:
    """A texture that moves as a whole by `speed` (right, down) samples in one unit of time; even whole shifts only."""
    height, width = size
    dx, dy = round(speed[0] * moment), round(speed[1] * moment)
    board = texture(1, height + 128, width + 128)
    part = board[64 - dy : 64 - dy + height, 64 - dx : 64 - dx + width]
    y = part.round().astype(np.uint8)
    u, v = (255 - y[::2, ::2]).copy(), y[1::2, 1::2].copy()
    return Frame(y, u, v, pts, 1)


def psnr(a: np.ndarray, b: np.ndarray, border: int = 0) -> float:
    """In dB, without a border."""
    inside = slice(border, -border or None)
    error = (a[inside, inside].astype(np.float64) - b[inside, inside]) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-9)))
