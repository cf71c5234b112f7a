"""Frames, packets and their descriptions, as exchanged between media files and the rest of lvc.

Without PyAV, so that packages which only handle frames do not load FFmpeg.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Plane: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
"""uint8 of 8 bits a sample, or uint16 of 10."""
Ratio: TypeAlias = tuple[int, int]

# FFmpeg's numbers for unspecified values: AVCOL_PRI/TRC/SPC_UNSPECIFIED, AVCOL_RANGE_UNSPECIFIED,
# AVCHROMA_LOC_UNSPECIFIED
UNSPECIFIED = 2
RANGE_UNSPECIFIED = 0
RANGE_LIMITED = 1
RANGE_FULL = 2
CHROMA_UNSPECIFIED = 0


@dataclass(slots=True)
class Frame:
    """One picture, YUV 4:2:0 of 8 or 10 bits, as coded (before rotation and aspect ratio are applied).

    `y` is `[H, W]`, `u` and `v` are `[ceil(H/2), ceil(W/2)]`: uint8, or uint16 of 10 bits (0..1023). `pts` and
    `duration` are in units of the video's `time_base`; `pts` strictly increases from frame to frame. The arrays are
    contiguous and belong to the frame. Frames duplicated to keep a frame rate share them, so do not write to them.
    """

    y: Plane
    u: Plane
    v: Plane
    pts: int
    duration: int


class Planes(Protocol):
    """Anything with planes y `[H, W]`, u and v `[ceil(H/2), ceil(W/2)]`, uint8 or uint16 of 10 bits."""

    @property
    def y(self) -> Plane: ...
    @property
    def u(self) -> Plane: ...
    @property
    def v(self) -> Plane: ...


@dataclass(frozen=True)
class VideoFormat:
    """The picture part of a video's description; the same fields as `lvc.lvz.VideoDescriptor`.

    Ratios are (numerator, denominator).

    Attributes:
        width: Columns as coded, before rotation.
        height: Rows as coded.
        time_base: Seconds per tick.
        frame_rate: Frames per second, an average for a variable rate; (0, 0) if unknown.
        sar: Sample aspect ratio: width over height of a sample.
        rotation: Degrees clockwise, 0, 90, 180 or 270, of rotation for display.
        hflip: Whether it is mirrored left to right before that.
        primaries: ITU-T H.273; 2 if unspecified.
        transfer: ITU-T H.273; 2 if unspecified.
        matrix: ITU-T H.273; 2 if unspecified.
        color_range: 0 unknown, 1 limited, 2 full.
        chroma_location: 0 unknown, 1 left, 2 centre, 3 top left, 4 top, 5 bottom left, 6 bottom.
        source_pix_fmt: FFmpeg's pixel format of the source.
        bit_depth: Bits per sample: 8 with planes uint8, or 10 with planes uint16 (0..1023).
    """

    width: int
    height: int
    time_base: Ratio
    frame_rate: Ratio = (0, 0)
    sar: Ratio = (1, 1)
    rotation: int = 0
    hflip: bool = False
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    color_range: int = RANGE_UNSPECIFIED
    chroma_location: int = CHROMA_UNSPECIFIED
    source_pix_fmt: str = "yuv420p"
    bit_depth: int = 8

    @property
    def seconds_per_tick(self) -> Fraction:
        """`time_base` as a number."""
        return Fraction(*self.time_base)

    @property
    def rate(self) -> Fraction | None:
        """Frames per second; `None` if unknown."""
        return Fraction(*self.frame_rate) if all(self.frame_rate) else None


@dataclass(frozen=True)
class CopiedStreamInfo:
    """A stream carried along without decoding. `params` is opaque; `lvc.media` recreates the stream from it."""

    kind: str
    codec: str
    time_base: Ratio
    language: str = ""
    sample_rate: int = 0
    channels: int = 0
    disposition: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    params: bytes = b""


@dataclass(slots=True)
class CopiedPacket:
    """One packet of the copied stream number `stream`, bit for bit; times in that stream's `time_base`."""

    stream: int
    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    data: bytes


SOUND_RATE = 16_000
"""Samples per second of `Sound`."""


@dataclass(frozen=True)
class Sound:
    """Decoded sound: `samples` float32 [N], -1 to 1, mono, `SOUND_RATE` per second. `start`: time of the first in
    seconds."""

    samples: npt.NDArray[np.float32]
    start: Fraction


@dataclass(frozen=True)
class VideoSide:
    """Properties of the video beside its pictures: the tags of its stream (title, timecode, …), and `properties`:
    `field_order`, `mastering_display`, `content_light`, `stereo3d` (`lvc.media.side`)."""

    language: str = ""
    disposition: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def interlaced(self) -> bool:
        return self.properties.get("field_order", "progressive") != "progressive"


@dataclass(frozen=True)
class Attachment:
    """An attached file: cover art, or a font."""

    name: str
    mime: str
    data: bytes
    cover: bool = False
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chapter:
    """A named part of the video; `start` and `end` in units of its own `time_base`."""

    start: int
    end: int
    time_base: Ratio
    tags: dict[str, str] = field(default_factory=dict)
