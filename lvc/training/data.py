"""Training footage: a cache of small planar clips with their motion fields, and streams of crops drawn from it.

The cache is one flat file per clip (memory-mapped): luma, chroma, and motion searched forwards at two rates and once
backwards for time reversal. Photographs become clips through synthetic pans and zooms.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from ..codec.motion_choice import MotionChoice
from ..errors import MediaError, UsageError
from ..media.motion import MotionSearch
from ..media.source import open_file
from ..output import about
from .pan import pan

VIDEO = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".264", ".3gp", ".y4m", ".ts", ".m4v"}
PHOTO = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
FORWARD_CRF, REVERSE_CRF = (22.0, 32.0), 27.0


@dataclass(frozen=True)
class CachedClip:
    """y uint8 [T,H,W], uv uint8 [T,2,H/2,W/2], motion int16 [3,T,2,H/8,W/8]: two forward fields, one for reversed time
    (its entry t predicts frame T-1-t from frame T-t)."""

    name: str
    y: np.ndarray
    uv: np.ndarray
    motion: np.ndarray


def _planes(frame: av.VideoFrame, max_height: int) -> tuple[np.ndarray, np.ndarray]:
    w, h = frame.width, frame.height
    if h > max_height:
        w, h = round(w * max_height / h), max_height
    w, h = w - w % 16, h - h % 16
    a = frame.reformat(w, h, "yuv420p", interpolation="AREA" if frame.height > h + 16 else "BICUBIC").to_ndarray()
    return a[:h].copy(), a[h:].reshape(2, h // 2, w // 2).copy()


def _read_video(path: Path, max_height: int, max_frames: int) -> tuple[np.ndarray, np.ndarray]:
    ys: list[np.ndarray] = []
    uvs: list[np.ndarray] = []
    with open_file(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            y, uv = _planes(frame, max_height)
            if ys and y.shape != ys[0].shape:
                break
            ys.append(y)
            uvs.append(uv)
            if len(ys) >= max_frames:
                break
    return np.stack(ys), np.stack(uvs)


def _pan(path: Path, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    with open_file(path) as container:
        frame = next(container.decode(video=0))
        w, h = frame.width - frame.width % 16, frame.height - frame.height % 16
        y, uv = _planes(frame.reformat(w, h, "yuv420p"), 768)
    return pan(y, uv, rng)


def _search(y: np.ndarray, uv: np.ndarray, crf: float) -> np.ndarray:
    search, choice = MotionSearch(y.shape[2], y.shape[1], crf), MotionChoice(*y.shape[1:])
    fields = [f for t in range(len(y)) for f in search.push(y[t], uv[t])] + list(search.flush())
    price = 2 ** ((crf - 12) / 6)  # x264's λ of absolute errors for that quantiser
    return np.stack([fields[0], *(choice.choose(y[t - 1], y[t], fields[t], price)[0] for t in range(1, len(y)))])


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
                raise UsageError("holds no video or photograph — name files or folders that do")
            found += footage
    return found


def open_cache(
    roots: tuple[Path, ...], folder: Path, max_height: int, max_frames: int, seed: int, report: Callable[[str], None]
) -> list[CachedClip]:
    """Build what is missing of the cache and map it: a file is found there again by its path, size and time of change.
    One that cannot be read is reported and left out."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for path in find_footage(roots):
        status = path.stat()
        source = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        key = hashlib.sha256(f"{source}|{max_height}|{max_frames}|{seed}|3".encode()).hexdigest()[:16]
        data, index = folder / f"{key}.bin", folder / f"{key}.json"
        if not index.exists():
            try:
                if path.suffix.lower() in PHOTO:
                    y, uv = _pan(path, random.Random(f"{seed}{path.name}"))
                else:
                    y, uv = _read_video(path, max_height, max_frames)
            except (av.FFmpegError, MediaError, StopIteration, IndexError, ValueError) as e:
                report(f"left out {path.name}: {e}")
                continue
            if len(y) < 3 or min(y.shape[1:]) < 64:
                report(f"left out {path.name}: too short or too small")
                continue
            motion = np.stack([*(_search(y, uv, c) for c in FORWARD_CRF), _search(y[::-1], uv[::-1], REVERSE_CRF)])
            with open(data, "wb") as f:
                for part in (y, uv, motion):
                    np.ascontiguousarray(part).tofile(f)
            part_index = index.with_suffix(".part")
            part_index.write_text(json.dumps({"name": path.name, "y": y.shape}))
            os.replace(part_index, index)
        meta = json.loads(index.read_text())
        t, h, w = meta["y"]
        raw = np.memmap(data, np.uint8, "r")
        n, k = t * h * w, t * h * w // 2
        clips.append(
            CachedClip(
                meta["name"],
                raw[:n].reshape(t, h, w),
                raw[n : n + k].reshape(t, 2, h // 2, w // 2),
                raw[n + k :].view(np.int16).reshape(3, t, 2, h // 8, w // 8),
            )
        )
    return clips


def stream(
    clip: CachedClip, crop: int, length: int, rng: random.Random
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Consecutive frames of one random crop, flips and time reversal: (y [c,c], uv [2,c/2,c/2], motion [2,c/8,c/8]).
    Ends with the clip or after `length` frames."""
    frames, height, width = clip.y.shape
    reverse, flip, variant = rng.random() < 0.5, rng.random() < 0.5, rng.randrange(2)
    top, left = rng.randrange(0, height - crop + 1, 16), rng.randrange(0, width - crop + 1, 16)
    first = rng.randrange(max(1, frames - length + 1))
    for i in range(first, min(frames, first + length)):
        t = frames - 1 - i if reverse else i
        y = clip.y[t, top : top + crop, left : left + crop]
        uv = clip.uv[t, :, top // 2 : (top + crop) // 2, left // 2 : (left + crop) // 2]
        mv = clip.motion[2 if reverse else variant, i, :, top // 8 : (top + crop) // 8, left // 8 : (left + crop) // 8]
        if flip:
            y, uv, mv = y[:, ::-1], uv[..., ::-1], mv[..., ::-1] * np.array([-1, 1], np.int16)[:, None, None]
        yield y, uv, mv
