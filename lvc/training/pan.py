"""Video made from photographs."""

from __future__ import annotations

import math
import random

import numpy as np
import torch
import torch.nn.functional as F

SIDE, FRAMES = 320, 20


def pan(y: np.ndarray, uv: np.ndarray, rng: random.Random, frames: int = FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """A slow random pan and zoom over a photograph, resampled on its 4:2:0 planes: y [T,S,S], uv [T,2,S/2,S/2]."""
    side = min(SIDE, y.shape[0], y.shape[1]) // 16 * 16
    angle, speed = rng.uniform(0, 2 * math.pi), rng.choice([0.0, 0.5, 1.5, 4.0]) * rng.uniform(0.5, 1.5)
    zoom, spin = rng.choice([0.0, 0.0, 0.004, -0.004]), rng.choice([0.0, 0.0, 0.003])
    cx, cy = rng.uniform(0.45, 0.55) * y.shape[1], rng.uniform(0.45, 0.55) * y.shape[0]
    out_y, out_uv = [], []
    for t in range(frames):
        k = t - frames / 2
        px, py = cx + math.cos(angle) * speed * k, cy + math.sin(angle) * speed * k
        scale, turn = math.exp(zoom * k), spin * k
        planes = []
        for plane, sub in ((torch.from_numpy(y)[None], 1), (torch.from_numpy(uv), 2)):
            n, height, width = side // sub, plane.shape[1], plane.shape[2]
            axis = (torch.arange(n) + 0.5 - n / 2) * scale
            gy, gx = torch.meshgrid(axis, axis, indexing="ij")
            sx = gx * math.cos(turn) - gy * math.sin(turn) + px / sub
            sy = gx * math.sin(turn) + gy * math.cos(turn) + py / sub
            grid = torch.stack([sx * 2 / width - 1, sy * 2 / height - 1], -1)[None]
            s = F.grid_sample(plane[None].float(), grid, mode="bicubic", padding_mode="reflection", align_corners=False)
            planes.append(s[0].round().clamp(0, 255).to(torch.uint8).numpy())
        out_y.append(planes[0][0])
        out_uv.append(planes[1])
    return np.stack(out_y), np.stack(out_uv)
