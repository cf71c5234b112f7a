"""Raw pictures as YUV4MPEG2, which encoders and players can read from a pipe."""

from __future__ import annotations

import os
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from lvc.media.colour import HDR_TRANSFERS
from lvc.media.side import FIELDS, TIMECODE
from lvc.media.types import RANGE_FULL, RANGE_LIMITED, CopiedPacket, Frame, VideoFormat, VideoSide
from lvc.notices import Loss

_TAGS = {1: "420mpeg2", 2: "420jpeg", 3: "420paldv"}
_TEN_BITS = "420p10 XYSCSS=420P10"  # as FFmpeg writes it; there are no 10-bit tags with a chroma location
_RANGES = {RANGE_LIMITED: " XCOLORRANGE=LIMITED", RANGE_FULL: " XCOLORRANGE=FULL"}


class Y4mWriter:
    """Writes frames to any binary file object (not closed). Packets of other streams are ignored.

    The format has one constant frame rate and no rotation; `notices` names the losses.
    """

    def __init__(self, file: BinaryIO, video: VideoFormat, side: VideoSide | None = None) -> None:
        self.notices: list[str] = []
        self.video = video
        self._file = file
        self._next: int | None = None
        num, den = video.frame_rate if all(video.frame_rate) else (25, 1)
        if not all(video.frame_rate):
            self.notices.append(Loss("y4m needs a frame rate and none is known: using 25"))
        if video.rotation or video.hflip:
            self.notices.append(Loss("y4m cannot store rotation: pictures are written unrotated"))
        properties = {} if side is None else side.properties
        fields = {"tt": "t", "tb": "t", "bb": "b", "bt": "b"}.get(properties.get(FIELDS, ""), "p")
        others = sorted({key for key in properties if key != FIELDS} | ({TIMECODE} & set(side.tags if side else ())))
        if others:
            self.notices.append(Loss(f"y4m has no place for {', '.join(others)}: left out"))
        if video.transfer in HDR_TRANSFERS:
            self.notices.append(Loss("y4m does not say that pictures are HDR: they are written as they are coded"))
        sampling = _TEN_BITS if video.bit_depth == 10 else _TAGS.get(video.chroma_location, "420jpeg")
        sar = video.sar if all(video.sar) else (0, 0)
        header = (
            f"YUV4MPEG2 W{video.width} H{video.height} F{num}:{den} I{fields} A{sar[0]}:{sar[1]} "
            f"C{sampling}{_RANGES.get(video.color_range, '')}\n"
        )
        self._header: bytes | None = header.encode("ascii")
        self._uneven = False

    def write(self, item: Frame | CopiedPacket) -> None:
        if isinstance(item, CopiedPacket):
            return
        if self._header is not None:
            self._file.write(self._header)
            self._header = None
        rate = self.video.rate
        if self._next is not None and rate is not None and not self._uneven:
            step = (item.pts - self._next) * self.video.seconds_per_tick * rate
            if abs(step - 1) > 0.5:
                self._uneven = True
                self.notices.append(Loss("y4m has a constant frame rate: variable frame times are lost"))
        self._next = item.pts
        self._file.write(b"FRAME\n")
        for plane in (item.y, item.u, item.v):
            plane = np.ascontiguousarray(plane, plane.dtype.newbyteorder("<"))
            self._file.write(plane.data)

    def close(self) -> None:
        if self._header is not None:
            self._file.write(self._header)
            self._header = None
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()


def frames_in(path: str) -> int:
    """Number of frames in a Y4M file of `Y4mWriter`. Raises `OSError` for another or an incomplete file."""
    with open(path, "rb") as file:
        header = file.readline(1024)
    words = header.split()
    sides = {word[:1]: int(word[1:]) for word in words[1:] if word[:1] in (b"W", b"H") and word[1:].isdigit()}
    if not header.endswith(b"\n") or words[:1] != [b"YUV4MPEG2"] or set(sides) != {b"W", b"H"}:
        raise OSError("is not a Y4M file")
    width, height = sides[b"W"], sides[b"H"]
    samples = width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    frame = len(b"FRAME\n") + samples * (2 if b"C420p10" in words else 1)
    frames, rest = divmod(os.path.getsize(path) - len(header), frame)
    if rest or not frames:
        raise OSError("ends within a frame")
    return frames
