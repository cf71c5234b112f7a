"""Pictures for training key frames: 4:2:0 planes of photographs and of single video frames in one cache.

Photographs are kept whole and at half size, video frames (every 12th, at most 12 of a clip) at 432 rows or fewer, as
training sees them. Planes are BT.601 limited range, as swscale makes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .sources import PHOTO, VIDEO_ROWS, frames_of, picture_of, planes, unreadable

if TYPE_CHECKING:
    import torch

PER_CLIP, EVERY = 12, 12
HALVED = 512
"""Photographs whose sides have at least this many samples are also kept at half size."""


def pictures(paths: Sequence[Path], report: Callable[[str], object]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for path in paths:
        try:
            if path.suffix.lower() in PHOTO:
                frame = picture_of(path)
                yield path.name, *planes(frame, frame.height)
                if min(frame.width, frame.height) >= HALVED:
                    yield path.name + "/2", *planes(frame, frame.height // 2)
                continue
            for i, frame in enumerate(frames_of(path)):
                if i % EVERY == 0:
                    yield f"{path.name}@{i}", *planes(frame, VIDEO_ROWS)
                if i >= EVERY * (PER_CLIP - 1):
                    break
        except unreadable() as error:
            report(f"left out {path.name}: {error}")


def build(paths: Sequence[Path], cache: Path, smallest: int, report: Callable[[str], object], most: int) -> int:
    """Of sides of `smallest` samples or more, `most` bytes or little more. → how many pictures there are."""
    index, at = [], 0
    with open(cache.with_suffix(".bin"), "wb") as out:
        for name, y, uv in pictures(paths, report):
            if min(y.shape) < smallest:
                continue
            out.write(y.tobytes())
            out.write(uv.tobytes())
            index.append([name, *y.shape, at])
            at += y.size * 3 // 2
            if at >= most:
                report(f"the cache is full at {at >> 20} MB — the rest of the pictures is left out")
                break
    cache.with_suffix(".json").write_text(json.dumps(index), encoding="utf-8")
    return len(index)


class Stills:
    """Random crops of the cache, each picture drawn by the square root of its area."""

    def __init__(self, cache: Path) -> None:
        self.index = json.loads(cache.with_suffix(".json").read_text(encoding="utf-8"))
        self.raw = np.memmap(cache.with_suffix(".bin"), np.uint8, "r")
        weight = np.sqrt([h * w for _, h, w, _ in self.index])
        weight *= [0.35 if "@" in n else 1.0 for n, *_ in self.index]
        self.weight = weight / weight.sum()

    def picture(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        _, h, w, at = self.index[i]
        n = h * w
        return self.raw[at : at + n].reshape(h, w), self.raw[at + n : at + n * 3 // 2].reshape(2, h // 2, w // 2)

    def crops(self, rng: np.random.Generator, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """y uint8 [N,size,size], uv [N,2,size/2,size/2], mirrored and turned at random."""
        ys, uvs = [], []
        for i in rng.choice(len(self.index), count, p=self.weight):
            y, uv = self.picture(int(i))
            top, left = (2 * int(rng.integers(0, (n - size) // 2 + 1)) for n in y.shape)
            a = y[top : top + size, left : left + size]
            b = uv[:, top // 2 : (top + size) // 2, left // 2 : (left + size) // 2]
            if rng.random() < 0.5:
                a, b = a[:, ::-1], b[:, :, ::-1]
            if rng.random() < 0.5:
                a, b = a.T, b.transpose(0, 2, 1)
            if rng.random() < 0.25:
                a, b = a[::-1], b[:, ::-1]
            ys.append(a)
            uvs.append(b)
        return np.stack(ys), np.stack(uvs)


class ResidentStills(Stills):
    """All pictures in a device's memory, where crops are gathered."""

    def __init__(self, cache: Path, device: torch.device) -> None:
        import torch

        super().__init__(cache)
        self.flat = torch.from_numpy(np.array(self.raw)).to(device)
        self.sizes = torch.tensor([[h, w, at] for _, h, w, at in self.index], device=device)
        self.cumulative = torch.tensor(np.cumsum(self.weight), dtype=torch.float32, device=device)

    def crops(self, rng: np.random.Generator, count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """As those of `Stills`, drawn by torch's generator of the device instead of `rng`."""
        import torch

        def draw(n: int) -> torch.Tensor:
            return torch.rand(n, count, device=self.flat.device)[:, :, None, None]

        which = torch.searchsorted(self.cumulative, draw(1).flatten()).clamp(max=len(self.index) - 1)
        height, width, at = (v[:, None, None] for v in self.sizes[which].unbind(1))
        top, left = (2 * (r * ((n - size) // 2 + 1)).long() for r, n in zip(draw(2), (height, width), strict=True))
        mirror, turn, flip = draw(3)

        def gather(
            top: torch.Tensor, left: torch.Tensor, width: torch.Tensor, at: torch.Tensor, size: int
        ) -> torch.Tensor:
            i = torch.arange(size, device=at.device)[None, :, None]
            j = i.mT
            i = torch.where(flip < 0.25, size - 1 - i, i)
            row, column = torch.where(turn < 0.5, j, i), torch.where(turn < 0.5, i, j)
            column = torch.where(mirror < 0.5, size - 1 - column, column)
            return self.flat[at + (top + row) * width + left + column]

        u = at + height * width
        half = [gather(top // 2, left // 2, width // 2, p, size // 2) for p in (u, u + height * width // 4)]
        return gather(top, left, width, at, size), torch.stack(half, 1)
