"""The frames for all codecs of one comparison: native planes, cut and scaled once, before encoding.

Formats other than 4:2:0 of 8 or 10 bits are converted by swscale here: the loss is the same for every codec, and not
counted. Of more than 8 bits 10 remain, as in a `.lvz`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
from av.video.stream import VideoStream

from lvc.errors import MediaError
from lvc.evaluation.planes import NATIVE, Picture, from_frame
from lvc.media.planes import PIX_FMT, native_depth
from lvc.media.source import open_file

RAW_NAME = re.compile(r"(\d+)x(\d+)(?:[_@p-]?(\d+))?")


@dataclass(frozen=True)
class ClipFormat:
    """The format of the frames. `time_base` in seconds, `rate` in frames per second, `bit_depth` 8 or 10."""

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    full_range: bool = False
    bit_depth: int = 8


class Source:
    """A clip on disk as `Picture`s: at most `frames` of them, scaled down to at most `max_height` rows (even sides).

    Scaling is swscale's area filter. Iterating again reads the file again; nothing is kept in memory.
    Raises MediaError for what cannot be opened or has no video.
    """

    def __init__(self, path: str | Path, *, frames: int | None = None, max_height: int | None = None) -> None:
        self.path = Path(path)
        self._frames = frames
        with _open(self.path) as container:
            stream = _video(container, self.path)
            width, height = stream.width, stream.height
            self.scaled = max_height is not None and height > max_height
            if max_height is not None and self.scaled:
                width, height = max(2, round(width * max_height / height / 2) * 2), max(2, max_height // 2 * 2)
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            self.pix_fmt = stream.pix_fmt or "unknown"
            self.format = ClipFormat(
                width,
                height,
                cast(Fraction, stream.time_base),
                Fraction(rate),
                self.pix_fmt.startswith("yuvj") or stream.codec_context.color_range == 2,
                native_depth(stream.codec_context.format),
            )

    def __iter__(self) -> Iterator[Picture]:
        try:
            with _open(self.path) as container:
                stream = _video(container, self.path)
                stream.thread_type = "AUTO"
                for index, frame in enumerate(container.decode(stream)):
                    if self._frames is not None and index >= self._frames:
                        return
                    pts = index if frame.pts is None else frame.pts
                    yield from_frame(_convert(frame, self.format), pts)
        except av.error.FFmpegError as e:
            raise MediaError(f"cannot be decoded: {e.strerror} — check the file with ffprobe") from e


def _convert(frame: av.VideoFrame, video: ClipFormat) -> av.VideoFrame:
    native, size = NATIVE.get(frame.format.name) == video.bit_depth, (video.width, video.height)
    if native and (frame.width, frame.height) == size:
        return frame
    # Same format in and out where it is native: swscale would otherwise change the range of yuvj420p.
    target = frame.format.name if native else PIX_FMT[video.bit_depth]
    return frame.reformat(*size, target, interpolation="AREA" if frame.height > size[1] else "BICUBIC")


def _open(path: Path) -> Any:
    form, options = None, {}
    if path.suffix == ".yuv":
        match = RAW_NAME.search(path.stem)
        if not match:
            raise MediaError("raw video without a size in its name — name it like clip_352x288_30.yuv")
        width, height, rate = match.groups(default="25")
        form, options = "rawvideo", {"video_size": f"{width}x{height}", "pixel_format": "yuv420p", "framerate": rate}
    try:
        return open_file(path, form, options)
    except (av.error.FFmpegError, OSError) as e:
        raise MediaError(f"cannot be opened: {e.strerror} — give a video file") from e


def _video(container: Any, path: Path) -> VideoStream:
    if not container.streams.video:
        raise MediaError(f"{path.name} contains no video — give a video file")
    return cast(VideoStream, container.streams.video[0])
