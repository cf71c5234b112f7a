"""VVC: VVenC in the static FFmpeg writes the bare stream, or an MP4; FFmpeg's own decoder in PyAV reads it back.

VVenC takes and gives 10-bit pictures. Eight bits go in as multiples of four and come back rounded: no dither, which
swscale would add. Rate is set by QP, in whole numbers: a step is about 12 % of the size.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lvc.evaluation.planes import Picture, Plane, Planes, padded_to_even
from lvc.evaluation.source import ClipFormat
from lvc.media.ffmpeg import Fed, raw_input


def encode(
    frames: Iterable[Planes], video: ClipFormat, preset: str, qp: float, path: Path, threads: int
) -> tuple[int, float]:
    """Writes `path`; frames and seconds, the program's start included. Raises MediaError, UnsupportedError."""
    width, height = video.width + video.width % 2, video.height + video.height % 2
    options = ["-c:v", "libvvenc", "-preset", preset, "-qp", f"{qp:g}", "-threads", str(threads)]
    options += ["-f", "mp4" if path.suffix == ".mp4" else "vvc"]
    source = raw_input(width, height, f"{video.rate.numerator}/{video.rate.denominator}", "-")
    count, reading, start = 0, 0.0, time.perf_counter()
    with Fed([*source, *options, str(path.resolve())], path.resolve().parent) as encoder:
        before = time.perf_counter()
        for picture in frames:
            reading += time.perf_counter() - before
            encoder.write(padded_to_even(picture))
            count += 1
            before = time.perf_counter()
    return count, time.perf_counter() - start - reading


def from_frame10(frame: Any, pts: int) -> Picture:
    """The planes of a yuv420p10le frame, rounded to eight bits."""
    height, width = frame.height, frame.width
    half = (height + 1) // 2, (width + 1) // 2
    y, u, v = (
        _to_eight_bits(np.frombuffer(plane, np.uint16).reshape(plane.height, plane.line_size // 2)[:rows, :columns])
        for plane, (rows, columns) in zip(frame.planes, ((height, width), half, half), strict=True)
    )
    return Picture(y, u, v, pts)


def _to_eight_bits(samples: np.ndarray[Any, np.dtype[np.uint16]]) -> Plane:
    rounded: Plane = np.minimum((samples + 2) >> 2, 255).astype(np.uint8)
    return rounded
