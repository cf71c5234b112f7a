"""4:2:0 pictures of 8 or 10 bits as numpy planes, to and from PyAV frames without colour conversion."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np

from lvc.media.depth import in_depth
from lvc.media.planes import chroma_size, frame_from_planes, samples_of
from lvc.media.types import Plane, Planes

__all__ = ["NATIVE", "Picture", "Plane", "Planes", "at_depth", "cropped", "from_frame", "padded_to_even", "to_frame"]
NATIVE = {"yuv420p": 8, "yuvj420p": 8, "yuv420p10le": 10}
"""FFmpeg's names of what is compared as it is, and the bits of a sample."""


@dataclass(frozen=True)
class Picture:
    """One picture, uint8 or 10 bits in uint16, and when it is shown, in units of its clip's time base."""

    y: Plane
    u: Plane
    v: Plane
    pts: int = 0


def from_frame(frame: av.VideoFrame, pts: int) -> Picture:
    """Copies the planes of a frame in one of the `NATIVE` formats; the caller converts anything else."""
    depth = NATIVE[frame.format.name]
    sizes = ((frame.width, frame.height), *[chroma_size(frame.width, frame.height)] * 2)
    y, u, v = (
        samples_of(p, depth)[:rows, :columns].copy() for p, (columns, rows) in zip(frame.planes, sizes, strict=True)
    )
    return Picture(y, u, v, pts)


def at_depth(picture: Picture, depth: int) -> Picture:
    """With 8 or 10 bits: multiplied by four, or rounded without dither."""
    y, u, v = (in_depth(plane, depth) for plane in (picture.y, picture.u, picture.v))
    return Picture(y, u, v, picture.pts)


def to_frame(picture: Planes, full_range: bool = False) -> av.VideoFrame:
    """A frame with these planes; pts and time base are left for the caller."""
    height, width = picture.y.shape
    frame: av.VideoFrame = frame_from_planes(picture.y, picture.u, picture.v, width, height)
    if full_range:
        frame.color_range = 2  # AVCOL_RANGE_JPEG
    return frame


def padded_to_even(picture: Planes) -> Planes:
    """Both sides of luma rounded up to even by repeating the edge; chroma has that size already."""
    height, width = picture.y.shape
    if not (height % 2 or width % 2):
        return picture
    y = np.pad(picture.y, ((0, height % 2), (0, width % 2)), mode="edge")
    return Picture(y, picture.u, picture.v, getattr(picture, "pts", 0))


def cropped(picture: Picture, width: int, height: int) -> Picture:
    """The top left corner, in luma samples."""
    half = (slice((height + 1) // 2), slice((width + 1) // 2))
    return Picture(picture.y[:height, :width], picture.u[half], picture.v[half], picture.pts)
