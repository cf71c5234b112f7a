"""Pictures for training and measuring key frames: 4:2:0 planes of photographs and single video frames in one cache.

    python research/stills.py DATA/train CACHE          # builds CACHE.bin and CACHE.json

Photographs are kept whole and at half size, video frames (every 12th, at most 12 of a clip) at 432 rows or fewer, as
training sees them. Planes are BT.601 limited range, as swscale makes them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av
    import torch

PHOTO = {".png", ".webp", ".jpg", ".jpeg"}
VIDEO_ROWS, PER_CLIP, EVERY = 432, 12, 12


def planes(frame: av.VideoFrame, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """y uint8 [H,W], uv uint8 [2,H/2,W/2]; H, W multiples of 16, at most `rows` rows."""
    w, h = frame.width, frame.height
    if h > rows:
        w, h = round(w * rows / h), rows
    w, h = w - w % 16, h - h % 16
    if frame.format.name != "rgb24" and "rgb" in frame.format.name:
        frame = frame.reformat(format="rgb24")
    small = frame.reformat(w, h, "yuv420p", interpolation="AREA" if frame.height > h + 16 else "BICUBIC")
    a = small.to_ndarray()
    return a[:h].copy(), a[h:].reshape(2, h // 2, w // 2).copy()


def photo(path: Path) -> av.VideoFrame:
    import av  # not where caches are only read: a machine lent for training has no PyAV

    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def pictures(root: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    import av

    for path in sorted((root / "photo").iterdir()):
        if path.suffix.lower() in PHOTO:
            frame = photo(path)
            h = frame.height
            yield path.name, *planes(frame, h)
            if min(frame.width, h) >= 512:
                yield path.name + "/2", *planes(frame, h // 2)
    for path in sorted((root / "video").iterdir()):
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                for i, frame in enumerate(container.decode(stream)):
                    if i % EVERY == 0:
                        yield f"{path.name}@{i}", *planes(frame, VIDEO_ROWS)
                    if i >= EVERY * (PER_CLIP - 1):
                        break
        except (av.FFmpegError, IndexError) as error:
            print("left out", path.name, error)


def build(root: Path, cache: Path) -> None:
    index, at = [], 0
    with open(cache.with_suffix(".bin"), "wb") as out:
        for name, y, uv in pictures(root):
            if min(y.shape) < 256:
                continue
            out.write(y.tobytes())
            out.write(uv.tobytes())
            index.append([name, *y.shape, at])
            at += y.size * 3 // 2
    cache.with_suffix(".json").write_text(json.dumps(index))
    print(len(index), "pictures,", at / 1e6, "MB")


class Stills:
    """Random crops of the cache, each picture drawn by the square root of its area."""

    def __init__(self, cache: Path) -> None:
        self.index = json.loads(cache.with_suffix(".json").read_text())
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


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
