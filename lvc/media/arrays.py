"""Pictures that a program holds (arrays, planes, tensors, `av.VideoFrame`) → planes of YUV 4:2:0, 8 or 10 bits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from lvc.errors import UsageError
from lvc.media.colour import ColourTags, tags_after, tags_of
from lvc.media.depth import depth_of, in_eight_bits
from lvc.media.planes import PIX_FMT, PlaneMaker, chroma_size, native_depth
from lvc.media.types import RANGE_UNSPECIFIED, UNSPECIFIED, Plane

Picture = Any
"""What a program has: an array `[H, W, 3]` (RGB, uint8, or uint16 up to 65535), three planes of 4:2:0 (uint8, or uint16
of 10 bits), a tensor of either kind (RGB also as `[3, H, W]`), an `av.VideoFrame`, or anything with the planes `y`,
`u`, `v`."""

ACCEPTED = (
    "a frame is an array [height, width, 3] of RGB, uint8 or uint16, a tuple of planes (y, u, v) of 4:2:0, a tensor of "
    "one of these, or an av.VideoFrame"
)
_TOP = 1023  # of 10 bits
_RGB = {"uint8": "rgb24", "uint16": "rgb48le"}


@dataclass(frozen=True)
class Given:
    """A picture as it was given: an `av.VideoFrame`, or planes."""

    frame: Any = None
    planes: tuple[Plane, Plane, Plane] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        if self.planes is not None:
            height, width = self.planes[0].shape
            return width, height
        return self.frame.width, self.frame.height

    @property
    def colour(self) -> ColourTags:
        """The colour tags of its planes, as far as the picture has any."""
        if self.planes is not None:
            return ColourTags(UNSPECIFIED, UNSPECIFIED, UNSPECIFIED, RANGE_UNSPECIFIED)
        return tags_after(tags_of(self.frame), self.frame.format)

    @property
    def is_rgb(self) -> bool:
        return self.planes is None and bool(self.frame.format.is_rgb)

    @property
    def pix_fmt(self) -> str:
        return PIX_FMT[self.depth] if self.planes is not None else str(self.frame.format.name)

    @property
    def depth(self) -> int:
        """Depth of the planes that preserve it best: 8 or 10 bits."""
        return depth_of(self.planes[0]) if self.planes is not None else native_depth(self.frame.format)


def given(picture: Picture) -> Given:
    """Raises `UsageError` for anything that is not a picture of the types and shapes in `ACCEPTED`."""
    if isinstance(picture, av.VideoFrame):
        return Given(frame=picture)
    planes = _planes_in(picture)
    if planes is not None:
        return Given(planes=_checked(planes))
    array = _array(picture)
    if array is not None and array.ndim == 3 and array.dtype.name in _RGB:
        if array.shape[2] != 3 and array.shape[0] == 3:
            array = array.transpose(1, 2, 0)
        if array.shape[2] == 3 and array.size:
            return Given(frame=av.VideoFrame.from_ndarray(np.ascontiguousarray(array), _RGB[array.dtype.name]))
    found = type(picture).__name__ if array is None else f"an array {list(array.shape)} of {array.dtype}"
    raise UsageError(f"{found} is not a picture — {ACCEPTED}")


class PlanesOf:
    """Converts pictures of any accepted type to planes of one size and depth, which share no memory with the input."""

    def __init__(self, width: int, height: int, depth: int) -> None:
        self._size, self._depth = (width, height), depth
        self._maker = PlaneMaker(width, height, depth=depth)

    def __call__(self, picture: Given) -> tuple[Plane, Plane, Plane]:
        """Raises `UsageError` for a picture of another size."""
        if picture.size != self._size:
            raise UsageError(
                "a frame of {}x{} in a video of {}x{} — scale it first".format(*picture.size, *self._size)
            )  # fmt: skip
        if picture.planes is not None:
            y, u, v = (in_eight_bits(p) if self._depth == 8 else p for p in picture.planes)
            return y.copy(), u.copy(), v.copy()
        return self._maker.planes(picture.frame)


def _planes_in(picture: Picture) -> list[Any] | None:
    if all(hasattr(picture, name) for name in ("y", "u", "v")):
        return [picture.y, picture.u, picture.v]
    return list(picture) if isinstance(picture, Sequence) and not isinstance(picture, (str, bytes)) else None


def _checked(planes: list[Any]) -> tuple[Plane, Plane, Plane]:
    arrays = [_array(plane) for plane in planes]
    types = {a.dtype.name for a in arrays if a is not None and a.ndim == 2}
    if len(arrays) != 3 or any(a is None or a.ndim != 2 for a in arrays) or types not in ({"uint8"}, {"uint16"}):
        raise UsageError(
            "planes are three arrays, y [height, width], u and v half of it, all uint8 or all uint16 of 10 bits — "
            f"{ACCEPTED}"
        )
    y, u, v = (a for a in arrays if a is not None)
    width, height = chroma_size(y.shape[1], y.shape[0])
    if not y.size or u.shape != (height, width) or v.shape != (height, width):
        shapes = ", ".join(str(list(a.shape)) for a in (y, u, v))
        raise UsageError(f"planes of {shapes} are not 4:2:0 — u and v have half the rows and columns of y, rounded up")
    if types == {"uint16"} and (largest := max(int(a.max()) for a in (y, u, v))) > _TOP:
        raise UsageError(f"planes in uint16 have 10 bits, and there is a sample of {largest} — shift them to 0..{_TOP}")
    return y, u, v


def _array(value: Any) -> np.ndarray[Any, Any] | None:
    """Convert to a numpy array, without a copy where possible; `None` for anything that is not an array."""
    torch = sys.modules.get("torch")  # a caller with a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        return np.asarray(value.detach().cpu().numpy())
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):  # the latter: Pillow's
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except (RuntimeError, BufferError, ValueError) as error:
            raise UsageError(f"its memory cannot be read from here ({error}) — copy it to the CPU first") from error
    return None
