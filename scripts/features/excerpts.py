"""Excerpts of clips, changed as copies are: the queries of `search_copies.py`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lvc.media import Frame, MediaReader, MediaWriter

SECONDS = 4.0
CHANGES = ("none", "crf 38", "half size", "15 % crop", "20 % brighter", "20 % darker", "mirrored", "2x speed")


@dataclass(frozen=True)
class Excerpt:
    """`start` to `start + seconds` of `clip`, changed, as a video at `path`."""

    clip: Path
    start: float
    seconds: float
    change: str
    path: Path


def length_of(clip: Path) -> float:
    with MediaReader(clip, audio="none", subtitles="none") as reader:
        frames = [item for item in reader if isinstance(item, Frame)]
        return float((frames[-1].pts + frames[-1].duration - frames[0].pts) * reader.video.seconds_per_tick)


def excerpts(clips: list[Path], folder: Path, changes: tuple[str, ...] = CHANGES, seed: int = 5) -> Iterator[Excerpt]:
    """One place for about each 2.5 seconds of a clip, with every change, written to `folder` unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        length = length_of(clip)
        chance = random.Random(f"{seed} {clip.name}")
        for number in range(max(1, min(8, round((length - SECONDS) / 1.2)))):
            start = round(chance.uniform(0, max(0.0, length - SECONDS)), 2)
            for change in changes:
                window = chance.random(), chance.random()  # drawn in any case: places do not depend on what exists
                path = folder / f"{clip.stem}-{number}-{change.replace(' ', '_').replace('%', 'percent')}.mp4"
                if not path.exists():
                    _write(clip, start, change, path, window)
                yield Excerpt(clip, start, min(SECONDS, length), change, path)


def _write(clip: Path, start: float, change: str, path: Path, window: tuple[float, float]) -> None:
    resolution = None
    if change == "half size":
        with MediaReader(clip) as reader:
            resolution = f"{reader.video.width // 2}x{reader.video.height // 2}"
    with MediaReader(
        clip, start=start, duration=SECONDS, audio="none", subtitles="none", resolution=resolution
    ) as reader:
        video, crf = reader.video, 38 if change == "crf 38" else 23
        size = video.width, video.height
        kept = [int(side * 0.85) // 2 * 2 for side in size] if change == "15 % crop" else list(size)
        left, top = (int(share * (a - b)) // 2 * 2 for share, a, b in zip(window, size, kept, strict=True))
        video = replace(video, width=kept[0], height=kept[1])
        with MediaWriter(path, video, crf=crf) as writer:
            for number, frame in enumerate(item for item in reader if isinstance(item, Frame)):
                if change == "2x speed":
                    if number % 2 == 0:
                        writer.write(replace(frame, pts=frame.pts // 2))
                    continue
                planes = [frame.y, frame.u, frame.v]
                if change == "15 % crop":
                    windows = [(left, top, *kept)] + [(left // 2, top // 2, kept[0] // 2, kept[1] // 2)] * 2
                    planes = [p[y : y + h, x : x + w] for p, (x, y, w, h) in zip(planes, windows, strict=True)]
                elif change.startswith("20 %"):
                    gain = 1.2 if change.endswith("brighter") else 0.8
                    planes = [_gained(p, gain, zero) for p, zero in zip(planes, (16, 128, 128), strict=True)]
                elif change == "mirrored":
                    planes = [p[:, ::-1] for p in planes]
                y, u, v = (np.ascontiguousarray(p) for p in planes)
                writer.write(replace(frame, y=y, u=u, v=v))


def _gained(plane: np.ndarray, gain: float, zero: int) -> np.ndarray:
    return np.rint((plane.astype(np.float32) - zero) * gain + zero).clip(0, 255).astype(np.uint8)
