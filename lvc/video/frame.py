"""One decoded picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lvc.errors import UsageError
from lvc.media.depth import in_eight_bits, in_ten_bits
from lvc.media.types import Frame as CodedFrame
from lvc.media.types import Plane, VideoFormat

if TYPE_CHECKING:
    from PIL.Image import Image

Bytes: TypeAlias = npt.NDArray[np.uint8]
FORMATS = ("rgb24", "bgr24", "rgb48le", "gray", "gray10le", "yuv420p", "yuv420p10le")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture: its planes as coded, and when it is shown.

    The planes are numpy arrays of the frame's own, and so speak DLPack: `torch.from_dlpack(frame.y)` copies nothing.
    Only `to_rgb` and its kin apply what the file says of colour, mirroring and rotation.

    Attributes:
        y: Luma `[H, W]`: uint8, or uint16 of 10 bits (0..1023) where `format.bit_depth` is 10.
        u: Chroma (blue difference) `[ceil(H/2), ceil(W/2)]`, of the same type.
        v: Chroma (red difference) `[ceil(H/2), ceil(W/2)]`, of the same type.
        time: Seconds from the file's first frame.
        duration: Seconds for which it is shown.
        pts: Its time in the file's own ticks, of `format.time_base` seconds each; the first need not be 0.
        format: Size as coded, colour, rotation, frame rate: of the whole video.
    """

    y: Plane
    u: Plane
    v: Plane
    time: float
    duration: float
    pts: int
    format: VideoFormat

    def to_rgb(self) -> Bytes:
        """As it is shown: colours converted by the file's matrix and range, mirrored and turned. The transfer curve
        stays: HDR (PQ, HLG) is not mapped to the range of other pictures.

        Returns:
            uint8 `[height, width, 3]`, a new array.
        """
        from lvc.media.pictures import maker_of

        return maker_of(self.format).rgb(self)

    def to_ndarray(self, format: str = "rgb24") -> Plane:
        """In a layout that other libraries want.

        Args:
            format: `rgb24`: as `to_rgb`. `bgr24`: the same for OpenCV. `rgb48le`: the same in 16 bits, 0..65535.
                `gray`: luma as coded. `yuv420p`: the planes as coded, one below the other, as PyAV and OpenCV
                (`COLOR_YUV2RGB_I420`) have them; for even sizes. Both are in 8 bits: 10 are rounded. `gray10le`,
                `yuv420p10le`: the same in 10 bits (0..1023): 8 are times 4.

        Returns:
            A new array, uint8, or uint16 for `rgb48le` and 10 bits: `[height, width, 3]`, or `[H, W]` for luma, or
            `[3 * H / 2, W]` for planes.

        Raises:
            UsageError: The format is another one, or planes of an odd size are to be one array.
        """
        if format == "rgb24":
            return self.to_rgb()
        if format == "bgr24":
            return np.ascontiguousarray(self.to_rgb()[:, :, ::-1])
        if format == "rgb48le":
            from lvc.media.pictures import maker_of

            return maker_of(self.format).deep_rgb(self)
        if format not in FORMATS:
            raise UsageError(f"the format {format!r} is not known — use {', '.join(FORMATS)}")
        in_bits: Callable[[Plane], Plane] = in_ten_bits if format.endswith("10le") else in_eight_bits
        if format.startswith("gray"):
            return np.array(in_bits(self.y))
        height, width = self.y.shape
        if height % 2 or width % 2:
            raise UsageError(f"a picture of {width}x{height} has no such layout — take its planes y, u and v")
        return np.concatenate([in_bits(plane).ravel() for plane in (self.y, self.u, self.v)]).reshape(-1, width)

    def to_image(self) -> Image:
        """`to_rgb` as a Pillow image, which can be saved.

        Returns:
            A `PIL.Image.Image` in mode RGB.
        """
        from PIL import Image

        return Image.fromarray(self.to_rgb())

    def __repr__(self) -> str:
        height, width = self.y.shape
        return f"<lvc.Frame {width}x{height} at {self.time:.3f} s>"


def shown_at(frame: CodedFrame, origin: int, format: VideoFormat) -> Frame:
    """`origin`: pts of the file's first frame."""
    tick = format.seconds_per_tick
    planes: tuple[Any, Any, Any] = frame.y, frame.u, frame.v
    return Frame(
        *planes, float((frame.pts - origin) * tick), float(frame.duration * tick), frame.pts, format
    )  # fmt: skip
