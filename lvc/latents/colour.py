"""8-bit YUV 4:2:0 planes ↔ RGB in 0..1, the only input of foreign VAEs. Uses torch; numbers are those of H.273."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lvc.media.types import RANGE_FULL, Frame

_BT601 = (0.299, 0.114)
_WEIGHTS = {1: (0.2126, 0.0722), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""Weights of red and blue in luma, by matrix; others are treated as BT.601."""


def _range(color_range: int) -> tuple[float, float, float]:
    """Offset and span of luma, span of chroma."""
    return (0.0, 255.0, 255.0) if color_range == RANGE_FULL else (16.0, 219.0, 224.0)


def to_rgb(frame: Frame, matrix: int, color_range: int) -> Tensor:
    """`[3, H, W]` float32, clamped to 0..1. Chroma is interpolated between the centres of its samples."""
    red, blue = _WEIGHTS.get(matrix, _BT601)
    offset, span, chroma = _range(color_range)
    y = (torch.from_numpy(frame.y).float() - offset) / span
    planes = torch.stack([torch.from_numpy(frame.u), torch.from_numpy(frame.v)])[None].float() - 128
    rows, columns = frame.y.shape
    large = F.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)[0, :, :rows, :columns] / chroma
    r = y + 2 * (1 - red) * large[1]
    b = y + 2 * (1 - blue) * large[0]
    g = (y - red * r - blue * b) / (1 - red - blue)
    return torch.stack([r, g, b]).clamp(0, 1)


def to_frame(rgb: Tensor, matrix: int, color_range: int, pts: int, duration: int) -> Frame:
    """The inverse of `to_rgb` for `[3, H, W]` in 0..1 (clamped); chroma is the mean of four."""
    red, blue = _WEIGHTS.get(matrix, _BT601)
    offset, span, chroma = _range(color_range)
    r, g, b = rgb.clamp(0, 1)
    y = red * r + (1 - red - blue) * g + blue * b
    planes = torch.stack([(b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))])[None] * chroma
    rows, columns = y.shape
    padded = F.pad(planes, (0, columns % 2, 0, rows % 2), mode="replicate") if rows % 2 or columns % 2 else planes
    small = F.avg_pool2d(padded, 2)[0] + 128
    luma, u, v = (np.ascontiguousarray(p.round().clamp(0, 255).byte().numpy()) for p in (y * span + offset, *small))
    return Frame(luma, u, v, pts, duration)
