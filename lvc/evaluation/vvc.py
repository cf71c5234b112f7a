"""VVC: VVenC in the static FFmpeg writes the bare stream, or an MP4; FFmpeg's own decoder in PyAV reads it back.

VVenC takes and gives 10-bit pictures. Eight bits go in as multiples of four and come back rounded: no dither, which
swscale would add. Rate is set by QP, in whole numbers: a step is about 12 % of the size.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from lvc.evaluation.planes import Planes, padded_to_even
from lvc.evaluation.source import ClipFormat
from lvc.media.ffmpeg import Fed, raw_input


def encode(
    frames: Iterable[Planes], video: ClipFormat, preset: str, qp: float, path: Path, threads: int
) -> tuple[int, float]:
    """Writes `path`; frames and seconds, the program's start included. Raises MediaError, UnsupportedError."""
    width, height = video.width + video.width % 2, video.height + video.height % 2
    options = ["-c:v", "libvvenc", "-preset", preset, "-qp", f"{qp:g}", "-threads", str(threads)]
    options += ["-f", "mp4" if path.suffix == ".mp4" else "vvc"]
    source = raw_input(width, height, f"{video.rate.numerator}/{video.rate.denominator}", "-", video.bit_depth)
    count, reading, start = 0, 0.0, time.perf_counter()
    with Fed([*source, *options, str(path.resolve())], path.resolve().parent) as encoder:
        before = time.perf_counter()
        for picture in frames:
            reading += time.perf_counter() - before
            encoder.write(padded_to_even(picture))
            count += 1
            before = time.perf_counter()
    return count, time.perf_counter() - start - reading
