"""Footage for training predicted frames: planes of clips in one flat cache.

python research/footage.py DATA/train CACHE  # 120 frames of every video, at most 432 rows; pans over photographs
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import numpy as np

PHOTOS_EVERY = 3


def build(root: Path, cache: Path, rows: int = 432, frames: int = 120) -> None:
    sys.path.insert(0, os.environ.get("LVC_ENGINE_TREE", str(Path(__file__).parents[1])))
    from lvc.training.data import _pan, _read_video

    index, at = [], 0
    videos = [(p, False) for p in sorted((root / "video").iterdir())]
    photos = [(p, True) for p in sorted((root / "photo").iterdir())[::PHOTOS_EVERY]]
    with open(cache.with_suffix(".bin"), "wb") as out:
        for path, still in videos + photos:
            try:
                y, uv = _pan(path, random.Random(path.name)) if still else _read_video(path, rows, frames)
            except Exception as error:  # what cannot be read is left out, and said
                print("left out", path.name, error)
                continue
            if len(y) < 9 or min(y.shape[1:]) < 256:
                print("left out", path.name, y.shape)
                continue
            out.write(np.ascontiguousarray(y).tobytes())
            out.write(np.ascontiguousarray(uv).tobytes())
            index.append([path.name, *y.shape, at])
            at += y.size * 3 // 2
    cache.with_suffix(".json").write_text(json.dumps(index))
    print(len(index), "clips,", at / 1e6, "MB")


class Clips:
    def __init__(self, cache: Path) -> None:
        self.index = json.loads(cache.with_suffix(".json").read_text())
        self.raw = np.memmap(cache.with_suffix(".bin"), np.uint8, "r")
        weight = np.array([np.sqrt(t * h * w) for _, t, h, w, _ in self.index])
        self.weight = weight / weight.sum()

    def crop(self, rng: np.random.Generator, frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """y uint8 [T,size,size], uv uint8 [T,2,size/2,size/2], T ≤ frames; mirrored, turned in time, sometimes every
        second frame."""
        _, t, h, w, at = self.index[int(rng.choice(len(self.index), p=self.weight))]
        stride = 2 if t >= 2 * frames and rng.random() < 0.15 else 1
        first = int(rng.integers(0, max(1, t - stride * (frames - 1))))
        times = np.arange(first, min(t, first + stride * frames), stride)
        n = t * h * w
        y, uv = self.raw[at : at + n].reshape(t, h, w), self.raw[at + n : at + n * 3 // 2].reshape(t, 2, h // 2, w // 2)
        top, left = (16 * int(rng.integers(0, (s - size) // 16 + 1)) for s in (h, w))
        a = y[times, top : top + size, left : left + size]
        b = uv[times, :, top // 2 : (top + size) // 2, left // 2 : (left + size) // 2]
        if rng.random() < 0.5:
            a, b = a[:, :, ::-1], b[..., ::-1]
        if rng.random() < 0.5:
            a, b = a[::-1], b[::-1]
        return np.ascontiguousarray(a), np.ascontiguousarray(b)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
