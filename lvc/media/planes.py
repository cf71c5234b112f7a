"""Decoded pictures ↔ planes of YUV 4:2:0, of 8 or 10 bits."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from lvc.media.colour import tags_of
from lvc.media.depth import depth_of
from lvc.media.header import Crop
from lvc.media.types import RANGE_FULL, RANGE_LIMITED, Plane

PIX_FMT = {8: "yuv420p", 10: "yuv420p10le"}
"""FFmpeg's name for planes, by their depth."""
_PLANAR = {8: ("yuv420p", "yuvj420p"), 10: ("yuv420p10le",)}
_INTERLEAVED = {8: ("nv12", "nv21"), 10: ("p010le",)}
_GREY = {8: ("gray", "gray8"), 10: ("gray10le",)}
_TYPES: dict[int, Any] = {8: np.uint8, 10: np.uint16}

_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.FULL_CHR_H_INT
_CONVERT = Interpolation.BICUBIC | _EXACT
_SHRINK = Interpolation.AREA | _EXACT


def chroma_size(width: int, height: int) -> tuple[int, int]:
    return (width + 1) // 2, (height + 1) // 2


def native_depth(pix_fmt: Any) -> int:
    """Depth of the planes that best preserve pictures of this `av.VideoFormat`: 10 for all above 8 bits."""
    return 10 if any(component.bits > 8 for component in pix_fmt.components) else 8


def empty_planes(width: int, height: int, depth: int = 8) -> tuple[Plane, Plane, Plane]:
    """Uninitialised y, u, v in one allocation."""
    cw, ch = chroma_size(width, height)
    memory = np.empty(width * height + 2 * cw * ch, dtype=_TYPES[depth])
    luma, chroma = width * height, cw * ch
    return (
        memory[:luma].reshape(height, width),
        memory[luma : luma + chroma].reshape(ch, cw),
        memory[luma + chroma :].reshape(ch, cw),
    )


def samples_of(plane: Any, depth: int) -> Plane:
    """A decoded plane in place, lines padded: uint8 or uint16 `[rows, samples of a line]`."""
    kind = np.dtype(_TYPES[depth])
    view: Plane = np.frombuffer(plane, dtype=kind).reshape(-1, abs(plane.line_size) // kind.itemsize)
    return view[::-1] if plane.line_size < 0 else view


class PlaneMaker:
    """Converts pictures of any format to 4:2:0 planes of one size and depth.

    4:2:0 of that size and depth is copied. Everything else goes through swscale once, and then has the colour tags of
    `colour.tags_after`.
    """

    def __init__(self, width: int, height: int, crop: Crop | None = None, depth: int = 8) -> None:
        self.width = width
        self.height = height
        self.depth = depth
        self._crop = crop
        self._reformatter = VideoReformatter()

    def planes(self, frame: Any) -> tuple[Plane, Plane, Plane]:
        return self._planes(_cropped(frame, self._crop, self.depth) if self._crop else frame)

    def _planes(self, frame: Any) -> tuple[Plane, Plane, Plane]:
        same_size = frame.width == self.width and frame.height == self.height
        name = frame.format.name
        if same_size and name in _PLANAR[self.depth]:
            return self._copy(frame)
        if same_size and name in _INTERLEAVED[self.depth]:
            return self._split(frame, swapped=name == "nv21")
        if same_size and name in _GREY[self.depth]:
            y, u, v = empty_planes(self.width, self.height, self.depth)
            y[:] = samples_of(frame.planes[0], self.depth)[: self.height, : self.width]
            u[:] = v[:] = 1 << (self.depth - 1)
            return y, u, v
        return self._copy(self._convert(frame, same_size))

    def _copy(self, frame: Any) -> tuple[Plane, Plane, Plane]:
        result = empty_planes(self.width, self.height, self.depth)
        for target, plane in zip(result, frame.planes, strict=True):
            height, width = target.shape
            target[:] = samples_of(plane, self.depth)[:height, :width]
        return result

    def _split(self, frame: Any, swapped: bool) -> tuple[Plane, Plane, Plane]:
        y, u, v = empty_planes(self.width, self.height, self.depth)
        below = 16 - self.depth if self.depth > 8 else 0  # P010 has its samples in the upper bits
        y[:] = samples_of(frame.planes[0], self.depth)[: self.height, : self.width] >> below
        height, width = u.shape
        chroma = samples_of(frame.planes[1], self.depth)[:height, : 2 * width] >> below
        first, second = (v, u) if swapped else (u, v)
        first[:] = chroma[:, 0::2]
        second[:] = chroma[:, 1::2]
        return y, u, v

    def _convert(self, frame: Any, same_size: bool) -> Any:
        shrinks = frame.width * frame.height > self.width * self.height
        flags = _SHRINK if shrinks and not same_size else _CONVERT
        tags = tags_of(frame)
        options: dict[str, Any] = {}
        if frame.format.is_rgb or frame.format.name == "pal8":
            options = {
                "src_color_range": ColorRange.JPEG,
                "dst_colorspace": Colorspace.ITU709,
                "dst_color_range": ColorRange.MPEG,
            }
        else:
            grey = frame.format.name.startswith(("gray", "ya", "mono"))
            value = tags.color_range or (RANGE_FULL if grey else RANGE_LIMITED)
            options = {"src_color_range": value, "dst_color_range": value}
        return self._reformatter.reformat(
            frame, self.width, self.height, PIX_FMT[self.depth], interpolation=flags, threads=1, **options
        )


def _cropped(frame: Any, crop: Crop, depth: int) -> Any:
    """Crop a picture as its container says, and convert it to 4:2:0 of this depth if it is something else."""
    whole = PlaneMaker(frame.width, frame.height, depth=depth)
    y, u, v = whole.planes(frame)
    width, height = crop.size(frame.width, frame.height)
    columns, rows = chroma_size(width, height)
    top, left = crop.top // 2, crop.left // 2
    u, v = (plane[top : top + rows, left : left + columns] for plane in (u, v))
    return frame_from_planes(y[crop.top : crop.top + height, crop.left : crop.left + width], u, v, width, height)


def frame_from_planes(y: Plane, u: Plane, v: Plane, width: int, height: int) -> Any:
    """An `av.VideoFrame` (yuv420p or yuv420p10le) of `width` by `height`; where the planes are smaller, their edge is
    repeated."""
    depth = depth_of(y)
    frame = av.VideoFrame(width, height, PIX_FMT[depth])
    for plane, source in zip(frame.planes, (y, u, v), strict=True):
        target = samples_of(plane, depth)
        rows, columns = source.shape
        target[:rows, :columns] = source
        if columns < plane.width:
            target[:rows, columns : plane.width] = source[:, -1:]
        if rows < plane.height:
            target[rows : plane.height] = target[rows - 1]
    return frame


def loss_of(pix_fmt: Any, depth: int = 8) -> str | None:
    """What conversion of this `av.VideoFormat` to 4:2:0 of this depth loses; `None` if nothing."""
    name = pix_fmt.name
    if any(name in _PLANAR[bits] + _INTERLEAVED[bits] + _GREY[bits] for bits in range(8, depth + 1, 2)):
        return None
    losses = []
    components = pix_fmt.components
    if pix_fmt.is_rgb or name == "pal8":
        losses.append("RGB becomes YUV BT.709")
    if any(component.bits > depth for component in components):
        losses.append(f"{max(component.bits for component in components)} bits a sample become {depth}")
    colourless = name.startswith(("gray", "ya", "mono"))
    chroma_full = pix_fmt.is_rgb or name == "pal8" or pix_fmt.chroma_width(64) > 32 or pix_fmt.chroma_height(64) > 32
    if not colourless and chroma_full:
        losses.append("chroma becomes half the resolution (4:2:0)")
    if not colourless and (pix_fmt.chroma_width(64) < 32 or pix_fmt.chroma_height(64) < 32):
        losses.append("chroma is scaled up to 4:2:0")
    if any(component.is_alpha for component in components) or name == "pal8":
        losses.append("transparency is dropped")
    return f"pixel format {name}: {', '.join(losses)}" if losses else None
