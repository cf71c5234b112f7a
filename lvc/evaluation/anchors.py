"""Classical encoders as users run them, through PyAV's own libx264, libx265 and libsvtav1.

Every anchor writes a real file and is charged for all of it: the bare elementary stream (`.h264`, `.hevc`, `.obu`),
which has no container at all, the kindest accounting for the anchor; parameter sets and the encoder's info SEI are in.
GOP length, B-frames and look-ahead are the encoder's defaults; only preset, CRF and the number of threads are set.
Decoding goes through the same file, with FFmpeg's decoder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import av.error
from av.video.stream import VideoStream

from lvc.errors import MediaError, UnsupportedError, UsageError
from lvc.evaluation.planes import Picture, Planes, from_frame, to_frame
from lvc.evaluation.source import ClipFormat


@dataclass(frozen=True)
class Family:
    """One encoder library: its name in FFmpeg, the raw format's name, the default preset, its CRF range."""

    encoder: str
    container: str
    suffix: str
    preset: str
    crf_range: tuple[float, float]
    crf_step: float


FAMILIES = {
    "x264": Family("libx264", "h264", ".h264", "medium", (0, 51), 0.25),
    "x265": Family("libx265", "hevc", ".hevc", "medium", (0, 51), 0.25),
    "svtav1": Family("libsvtav1", "obu", ".obu", "6", (1, 63), 1),
}


@dataclass(frozen=True)
class Anchor:
    """`x264:medium` and its like. Raises UsageError for a name that is not in FAMILIES."""

    name: str
    preset: str
    threads: int = 2

    @classmethod
    def parse(cls, text: str, threads: int = 2) -> Anchor:
        name, _, preset = text.partition(":")
        if name not in FAMILIES:
            raise UsageError(f"unknown anchor {text!r} — one of {', '.join(FAMILIES)}, as in x264:medium")
        return cls(name, preset or FAMILIES[name].preset, threads)

    @property
    def family(self) -> Family:
        return FAMILIES[self.name]

    def __str__(self) -> str:
        return f"{self.name}:{self.preset}"


@dataclass(frozen=True)
class Encoded:
    """A written file. `seconds` is the time inside the encoder; the source's reading and copying is not in it."""

    path: Path
    crf: float
    bytes: int
    frames: int
    seconds: float


def available(anchor: Anchor) -> bool:
    return anchor.family.encoder in av.codecs_available


def encode(frames: Iterable[Planes], video: ClipFormat, anchor: Anchor, crf: float, path: Path) -> Encoded:
    """Writes `path`. Frames need `pts` in `video.time_base`, or are numbered. Raises UnsupportedError, MediaError."""
    if not available(anchor):
        raise UnsupportedError(f"{anchor}: this FFmpeg has no {anchor.family.encoder} — leave it out of --anchors")
    seconds, count = 0.0, 0
    try:
        with av.open(str(path), "w", format=anchor.family.container) as container:
            stream = _stream(container, video, anchor, crf)
            for index, picture in enumerate(frames):
                frame = to_frame(picture, video.full_range)
                frame.pts = getattr(picture, "pts", index)
                frame.time_base = video.time_base
                start = time.perf_counter()
                container.mux(stream.encode(frame))
                seconds += time.perf_counter() - start
                count += 1
            start = time.perf_counter()
            container.mux(stream.encode(None))
            seconds += time.perf_counter() - start
    except av.error.FFmpegError as e:
        raise MediaError(f"{anchor} at CRF {crf:g} failed: {e.strerror} — leave it out of --anchors") from e
    return Encoded(path, crf, path.stat().st_size, count, seconds)


def decode(path: Path, anchor: Anchor) -> Iterator[Picture]:
    """The frames of a file written by `encode`, in the order in which they are shown."""
    with av.open(str(path), format=anchor.family.container) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = anchor.threads
        for index, frame in enumerate(container.decode(stream)):
            yield from_frame(frame, index)


def at_size(
    write: Callable[[float], Encoded], target_bytes: int, anchor: Anchor, *, tolerance: float = 0.02, start: float = 30
) -> Encoded:
    """The CRF whose file comes nearest to `target_bytes`, by secant steps inside a bracket over log(size).

    `write(crf)` encodes and returns the file's figures; the nearest result is returned even when the CRF grid or range
    does not reach the tolerance: the caller reports `bytes`. The last file written is not always the best.
    """
    low, high = anchor.family.crf_range  # low CRF: too big; high CRF: too small
    step = anchor.family.crf_step
    seen: dict[float, Encoded] = {}
    crf = min(max(start, low), high)
    while True:
        crf = round(crf / step) * step
        if crf in seen or len(seen) >= 12:
            break
        seen[crf] = write(crf)
        miss = math.log(seen[crf].bytes / target_bytes)
        if abs(miss) <= math.log1p(tolerance) / 2:
            break
        low, high = (max(low, crf), high) if miss > 0 else (low, min(high, crf))
        crf = _next_crf(seen, target_bytes, low, high, step)
    return min(seen.values(), key=lambda e: abs(math.log(e.bytes / target_bytes)))


def _next_crf(seen: dict[float, Encoded], target: int, low: float, high: float, step: float) -> float:
    """Where log(size) meets the target: six CRF steps double the size until two points give the local slope."""
    points = sorted((crf, math.log(e.bytes / target)) for crf, e in seen.items())
    nearest = sorted(points, key=lambda p: abs(p[1]))[:2]
    (crf, miss), slope = nearest[0], -math.log(2) / 6
    if len(nearest) == 2 and (nearest[1][1] - miss) * (nearest[1][0] - crf) < 0:
        slope = (nearest[1][1] - miss) / (nearest[1][0] - crf)
    guess = round((crf - miss / slope) / step) * step
    inside = [c for c in (guess, guess - step, guess + step) if low < c < high and c not in seen]
    if inside:
        return inside[0]
    middle = round((low + high) / 2 / step) * step
    return middle if low <= guess <= high else min(max(guess, low), high)


def _stream(container: av.container.OutputContainer, video: ClipFormat, anchor: Anchor, crf: float) -> VideoStream:
    options = {"preset": anchor.preset, "crf": f"{crf:g}"}
    match anchor.name:
        case "x265":
            options["x265-params"] = f"pools={anchor.threads}:log-level=error"
        case "svtav1":
            options["svtav1-params"] = f"lp={anchor.threads}"
    stream = cast(VideoStream, container.add_stream(anchor.family.encoder, rate=video.rate, options=options))
    stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
    stream.codec_context.time_base = video.time_base
    stream.codec_context.thread_count = anchor.threads
    if video.full_range:
        stream.codec_context.color_range = 2
    return stream
