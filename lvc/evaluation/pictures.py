"""Lossless pictures of decoded frames for the report; RGB by BT.709 from 720 rows on and by BT.601 below."""

from __future__ import annotations

import os
from pathlib import Path

import av
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace

from lvc.evaluation.planes import Planes, padded_to_even, to_frame
from lvc.evaluation.source import ClipFormat

SUFFIX, MIME = (".webp", "image/webp") if "libwebp" in av.codecs_available else (".png", "image/png")


def shown_frames(count: int) -> list[int]:
    """Which frames of a clip are kept: the middle one and the last, farthest from its key frame."""
    return sorted({count // 2, count - 1})


def name_of(prefix: str, frame: int | str) -> str:
    return f"{prefix}-{frame}{SUFFIX}"


def write(picture: Planes, video: ClipFormat, path: Path) -> None:
    """Write a `SUFFIX` file atomically. Odd sides are padded by repeating the edge."""
    frame = to_frame(padded_to_even(picture), video.full_range)
    matrix = Colorspace.ITU709 if video.height >= 720 else Colorspace.ITU601
    source_range = ColorRange.JPEG if video.full_range else ColorRange.MPEG
    pixels = "bgra" if SUFFIX == ".webp" else "rgb24"
    rgb = frame.reformat(format=pixels, src_colorspace=matrix, src_color_range=source_range)
    context = av.CodecContext.create("libwebp" if SUFFIX == ".webp" else "png", "w")
    if not isinstance(context, VideoCodecContext):
        raise TypeError(f"{context} is no encoder of pictures")
    context.width, context.height, context.pix_fmt, context.time_base = rgb.width, rgb.height, pixels, video.time_base
    context.options = {"lossless": "1", "compression_level": "2"} if SUFFIX == ".webp" else {}
    rgb.pts = 0
    temporary = path.with_name(f".{os.urandom(4).hex()}{path.name}")
    temporary.write_bytes(b"".join(bytes(packet) for packet in (*context.encode(rgb), *context.encode(None))))
    os.replace(temporary, path)
