"""8-bit 4:2:0 pictures as numpy planes, to and from PyAV frames without colour conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from lvc.media.types import Plane, Planes

__all__ = ["NATIVE", "Picture", "Plane", "Planes", "cropped", "from_frame", "padded_to_even", "to_frame"]
NATIVE = ("yuv420p", "yuvj420p")


@dataclass(frozen=True)
class Picture:
    """One picture and when it is shown, in units of its clip's time base."""

    y: Plane
    u: Plane
    v: Plane
    pts: int = 0


def from_frame(frame: av.VideoFrame, pts: int) -> Picture:
    """Copies the planes of a yuv420p or yuvj420p frame; the caller converts anything else."""
    width, height = frame.width, frame.height
    sizes = ((height, width), *[((height + 1) // 2, (width + 1) // 2)] * 2)
    y, u, v = (_read_plane(p, *size) for p, size in zip(frame.planes, sizes, strict=True))
    return Picture(y, u, v, pts)


def to_frame(picture: Planes, full_range: bool = False) -> av.VideoFrame:
    """A yuv420p frame with these planes; pts and time base are left for the caller."""
    height, width = picture.y.shape
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, values in zip(frame.planes, (picture.y, picture.u, picture.v), strict=True):
        rows, columns = values.shape
        _padded(plane)[:rows, :columns] = values
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


def _padded(plane: Any) -> Plane:
    """A view on the plane's memory: all of a row, its padding included."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)


def _read_plane(plane: Any, rows: int, columns: int) -> Plane:
    return _padded(plane)[:rows, :columns].copy()
