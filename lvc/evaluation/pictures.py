"""Lossless pictures of decoded frames for the report; RGB by BT.709 from 720 rows on and by BT.601 below."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, features

from lvc.evaluation.planes import Planes
from lvc.evaluation.source import ClipFormat
from lvc.media.pictures import PictureMaker
from lvc.media.types import RANGE_FULL, RANGE_LIMITED, VideoFormat
from lvc.output import publish

SUFFIX, MIME = (".webp", "image/webp") if features.check("webp") else (".png", "image/png")


def shown_frames(count: int) -> list[int]:
    """The frames of a clip to keep: the middle one and the last, farthest from its key frame."""
    return sorted({count // 2, count - 1})


def name_of(prefix: str, frame: int | str) -> str:
    return f"{prefix}-{frame}{SUFFIX}"


def write(picture: Planes, video: ClipFormat, path: Path) -> None:
    """Write a `SUFFIX` file, whole or not at all."""
    height, width = picture.y.shape
    format = VideoFormat(width, height, (1, 1), color_range=RANGE_FULL if video.full_range else RANGE_LIMITED)
    image = Image.fromarray(PictureMaker(format).rgb(picture))
    with publish(str(path), force=True) as unfinished:
        image.save(unfinished, lossless=True)  # which PNG ignores
