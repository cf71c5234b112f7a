"""What is trained on: videos and photographs in folders, and their planes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MediaError, UsageError
from ..output import about

if TYPE_CHECKING:
    import av

VIDEO = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".264", ".3gp", ".y4m", ".ts", ".m4v"}
PHOTO = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
VIDEO_ROWS = 432


def find_footage(roots: tuple[Path, ...]) -> list[Path]:
    """Every video and photograph below `roots`, sorted. Raises `MediaError` for a root that is not there, `UsageError`
    for one that holds none; both name it."""
    found: list[Path] = []
    for root in roots:
        with about(str(root)):
            if not root.exists():
                raise MediaError("no such file or folder — check the name")
            below = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
            footage = [p for p in below if p.suffix.lower() in VIDEO | PHOTO]
            if not footage:
                raise UsageError("contains no video or photograph — give files or folders that do")
            found += footage
    return found


def unreadable() -> tuple[type[Exception], ...]:
    """What reading a file of somebody else's may raise."""
    import av  # not where caches are only read: a machine lent for training has no PyAV

    return av.FFmpegError, MediaError, StopIteration, IndexError, ValueError


def frames_of(path: Path) -> Iterator[av.VideoFrame]:
    from ..media.source import open_file

    with open_file(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield from container.decode(stream)


def picture_of(path: Path) -> av.VideoFrame:
    frame = next(frames_of(path), None)
    if frame is None:
        raise ValueError("it has no picture")
    return frame


def planes(frame: av.VideoFrame, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """y uint8 [H,W], uv uint8 [2,H/2,W/2]; H, W multiples of 16, at most `rows` rows."""
    w, h = frame.width, frame.height
    if h > rows:
        w, h = round(w * rows / h), rows
    w, h = w - w % 16, h - h % 16
    if min(w, h) < 16:
        raise ValueError(f"{frame.width}x{frame.height} is too small")
    if frame.format.name != "rgb24" and "rgb" in frame.format.name:
        frame = frame.reformat(format="rgb24")
    small = frame.reformat(w, h, "yuv420p", interpolation="AREA" if frame.height > h + 16 else "BICUBIC")
    a = small.to_ndarray()
    return a[:h].copy(), a[h:].reshape(2, h // 2, w // 2).copy()
