"""Footage for training predicted frames: planes of clips in one cache: 120 frames of every video, at most 432 rows, and
pans over photographs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .pan import pan
from .sources import PHOTO, VIDEO_ROWS, frames_of, picture_of, planes, unreadable

PHOTOS_EVERY = 3
"""Every third photograph is panned over."""
FRAMES, SHORTEST, PAN_ROWS = 120, 9, 768


def _clip(path: Path) -> tuple[np.ndarray, np.ndarray]:
    ys: list[np.ndarray] = []
    uvs: list[np.ndarray] = []
    for frame in frames_of(path):
        y, uv = planes(frame, VIDEO_ROWS)
        if ys and y.shape != ys[0].shape:
            break
        ys.append(y)
        uvs.append(uv)
        if len(ys) == FRAMES:
            break
    return np.stack(ys), np.stack(uvs)


def build(paths: Sequence[Path], cache: Path, smallest: int, report: Callable[[str], object], most: int) -> int:
    """Of sides of `smallest` samples or more, `most` bytes or little more. → number of clips."""
    index, at = [], 0
    videos = [p for p in paths if p.suffix.lower() not in PHOTO]
    photos = [p for p in paths if p.suffix.lower() in PHOTO][::PHOTOS_EVERY]
    with open(cache.with_suffix(".bin"), "wb") as out:
        for path in videos + photos:
            try:
                if path in photos:
                    y, uv = pan(*planes(picture_of(path), PAN_ROWS), random.Random(path.name))
                else:
                    y, uv = _clip(path)
            except unreadable() as error:
                report(f"left out {path.name}: {error}")
                continue
            if len(y) < SHORTEST or min(y.shape[1:]) < smallest:
                report(f"left out {path.name}: {len(y)} frames of {y.shape[2]}x{y.shape[1]} are too few or too small")
                continue
            out.write(np.ascontiguousarray(y).tobytes())
            out.write(np.ascontiguousarray(uv).tobytes())
            index.append([path.name, *y.shape, at])
            at += y.size * 3 // 2
            if at >= most:
                report(f"the cache is full at {at >> 20} MB — the rest of the footage is left out")
                break
    cache.with_suffix(".json").write_text(json.dumps(index), encoding="utf-8")
    return len(index)


class Clips:
    def __init__(self, cache: Path) -> None:
        self.index = json.loads(cache.with_suffix(".json").read_text(encoding="utf-8"))
        self.raw = np.memmap(cache.with_suffix(".bin"), np.uint8, "r")
        weight = np.array([np.sqrt(t * h * w) for _, t, h, w, _ in self.index])
        self.weight = weight / weight.sum()
        self.longest = max(t for _, t, *_ in self.index)

    def clip(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """y uint8 [T,H,W], uv uint8 [T,2,H/2,W/2]."""
        _, t, h, w, at = self.index[i]
        n = t * h * w
        return self.raw[at : at + n].reshape(t, h, w), self.raw[at + n : at + n * 3 // 2].reshape(t, 2, h // 2, w // 2)

    def crop(self, rng: np.random.Generator, frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """y uint8 [T,size,size], uv uint8 [T,2,size/2,size/2], T ≤ frames; mirrored, turned in time, sometimes every
        second frame."""
        y, uv = self.clip(int(rng.choice(len(self.index), p=self.weight)))
        t, h, w = y.shape
        stride = 2 if t >= 2 * frames and rng.random() < 0.15 else 1
        first = int(rng.integers(0, max(1, t - stride * (frames - 1))))
        times = np.arange(first, min(t, first + stride * frames), stride)
        top, left = (16 * int(rng.integers(0, (s - size) // 16 + 1)) for s in (h, w))
        a = y[times, top : top + size, left : left + size]
        b = uv[times, :, top // 2 : (top + size) // 2, left // 2 : (left + size) // 2]
        if rng.random() < 0.5:
            a, b = a[:, :, ::-1], b[..., ::-1]
        if rng.random() < 0.5:
            a, b = a[::-1], b[::-1]
        return np.ascontiguousarray(a), np.ascontiguousarray(b)
