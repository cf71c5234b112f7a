"""One decoded picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lvc.errors import UsageError
from lvc.media.types import Frame as CodedFrame
from lvc.media.types import VideoFormat

if TYPE_CHECKING:
    from PIL.Image import Image

Plane: TypeAlias = npt.NDArray[np.uint8]
FORMATS = ("rgb24", "bgr24", "gray", "yuv420p")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture: its planes as coded, and when it is shown.

    The planes are numpy arrays of the frame's own, and so speak DLPack: `torch.from_dlpack(frame.y)` copies nothing.
    Only `to_rgb` and its kin apply what the file says of colour, mirroring and rotation.

    Attributes:
        y: Luma, uint8 `[H, W]`.
        u: Chroma (blue difference), uint8 `[ceil(H/2), ceil(W/2)]`.
        v: Chroma (red difference), uint8 `[ceil(H/2), ceil(W/2)]`.
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

    def to_rgb(self) -> Plane:
        """As it is shown: colours converted by the file's matrix and range, mirrored and turned.

        Returns:
            uint8 `[height, width, 3]`, a new array.
        """
        from lvc.media.pictures import rgb_of

        return rgb_of(self, self.format)

    def to_ndarray(self, format: str = "rgb24") -> Plane:
        """In a layout that other libraries want.

        Args:
            format: `rgb24`: as `to_rgb`. `bgr24`: the same for OpenCV. `gray`: luma as coded. `yuv420p`: the planes as
                coded, one below the other, as PyAV and OpenCV (`COLOR_YUV2RGB_I420`) have them; for even sizes.

        Returns:
            uint8, a new array: `[height, width, 3]`, or `[H, W]` for `gray`, or `[3 * H / 2, W]` for `yuv420p`.

        Raises:
            UsageError: The format is another one, or `yuv420p` of an odd size.
        """
        if format == "rgb24":
            return self.to_rgb()
        if format == "bgr24":
            return np.ascontiguousarray(self.to_rgb()[:, :, ::-1])
        if format == "gray":
            return self.y.copy()
        if format != "yuv420p":
            raise UsageError(f"the format {format!r} is not known — use {', '.join(FORMATS)}")
        height, width = self.y.shape
        if height % 2 or width % 2:
            raise UsageError(f"a picture of {width}x{height} has no such layout — take its planes y, u and v")
        return np.concatenate([plane.ravel() for plane in (self.y, self.u, self.v)]).reshape(-1, width)

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
