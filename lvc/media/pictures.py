"""Planes → RGB pictures, as they are shown."""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from lvc.media.planes import frame_from_planes
from lvc.media.types import RANGE_FULL, Planes, VideoFormat

_MATRICES: dict[int, Any] = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class PictureMaker:
    """Makes RGB of the frames of one video: `[height, width, 3]`, uint8 or uint16, mirrored and rotated for
    display.

    A video without a matrix tag is taken as BT.709 from 720 rows, and as BT.601 below, as players do.
    """

    def __init__(self, video: VideoFormat) -> None:
        self.video = video
        self._reformatter = VideoReformatter()
        guess = Colorspace.ITU709 if video.height >= 720 else Colorspace.ITU601
        self._matrix = _MATRICES.get(video.matrix, guess)
        self._range = ColorRange.JPEG if video.color_range == RANGE_FULL else ColorRange.MPEG

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the pictures."""
        width, height = self.video.width, self.video.height
        return (height, width) if self.video.rotation % 180 else (width, height)

    def rgb(self, frame: Planes) -> npt.NDArray[np.uint8]:
        """uint8, 0..255."""
        return cast(npt.NDArray[np.uint8], self._made(frame, "rgb24"))

    def deep_rgb(self, frame: Planes) -> npt.NDArray[np.uint16]:
        """uint16, 0..65535."""
        return cast(npt.NDArray[np.uint16], self._made(frame, "rgb48le"))

    def _made(self, frame: Planes, pix_fmt: str) -> npt.NDArray[Any]:
        coded = frame_from_planes(frame.y, frame.u, frame.v, self.video.width, self.video.height)
        shown = self._reformatter.reformat(
            coded, format=pix_fmt, src_colorspace=self._matrix, src_color_range=self._range,
            dst_color_range=ColorRange.JPEG, interpolation=_EXACT, threads=1,
        )  # fmt: skip
        picture = shown.to_ndarray()
        if self.video.hflip:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(np.rot90(picture, -(self.video.rotation // 90)))


_ours = threading.local()


def maker_of(video: VideoFormat) -> PictureMaker:
    """Cache the converter of the last format, one per thread."""
    maker: PictureMaker | None = getattr(_ours, "maker", None)
    if maker is None or maker.video != video:
        maker = _ours.maker = PictureMaker(video)
    return maker
